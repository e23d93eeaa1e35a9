//! Matrices of packed integers with scales and zero points per group of columns. Their rows are
//! rewritten in a format of [`Int`] while they are read.
//!
//! Some files store the transposed matrix, so that its rows are not contiguous. It is read in
//! strips of rows, one of which is kept while its rows are asked for.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use super::source::{ByteSource, read_part};
use crate::error::{Error, Result};
use crate::formats::{FloatKind, Format, Int, WeightFormat};

/// Files of a checkpoint.
type Files = [Rc<dyn ByteSource>];

/// Weights, and bytes of rewritten rows, of a strip.
const STRIP: usize = 4 << 20;
/// Rows of a strip are whole words of packed rows.
const STRIP_ROWS: usize = 32;
/// Bytes of a transposed matrix that are read at a time.
const BAND_BYTES: usize = 1 << 20;

/// Place of a tensor in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
}

/// A stored matrix of words that contain one or several numbers of one row or column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) part: Part,
    /// Rows of words as stored.
    pub(super) word_rows: usize,
    /// Words per stored row.
    pub(super) words: usize,
    pub(super) word_bytes: usize,
    /// Bits of a number.
    pub(super) bits: usize,
    /// True if the stored rows are the columns of the matrix.
    pub(super) is_transposed: bool,
    /// True if the numbers of a word belong to several stored rows.
    pub(super) is_packed_down: bool,
    /// Position in a word of each number that it contains.
    pub(super) order: &'static [u8],
}

/// Positions in ascending order.
pub(super) const ASCENDING: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Zero points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Zeros {
    /// One for all groups.
    Constant(i32),
    /// Numbers plus a constant, modulo the number of quants.
    Unsigned(Packed, u32),
    /// Signed bytes plus a constant.
    Signed(Packed, i32),
}

/// A matrix of integers, with the tensors that decode it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matrix {
    /// Format of the rewritten rows: [`Format::INT`], or floats if groups of columns are not whole
    /// blocks of a format.
    pub(super) format: Format,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) quants: Packed,
    /// True if quants are signed bytes.
    pub(super) is_signed: bool,
    /// Scales of the groups of each row, or of all rows.
    pub(super) scales: Packed,
    /// Encoding of the scales.
    pub(super) scale_kind: FloatKind,
    pub(super) zeros: Zeros,
    /// Groups per row.
    pub(super) groups: usize,
    /// Columns per group.
    pub(super) group: usize,
    /// Group of each column (I32), if it is stored.
    pub(super) group_index: Option<Part>,
    /// Index and rewritten rows of the strip that was read last.
    pub(super) strip: RefCell<Option<(usize, Vec<u8>)>>,
}

/// Consecutive rows of a [`Matrix`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integers {
    pub(super) first_row: usize,
    pub(super) matrix: Rc<Matrix>,
}

/// Words of a stored matrix: some rows of it, and some words of each.
struct Block {
    first_row: usize,
    first_word: usize,
    row_bytes: usize,
    bytes: Vec<u8>,
}

impl Part {
    /// Reads bytes from `start` on.
    async fn read(&self, files: &Files, start: u64, length: u64) -> Result<Vec<u8>> {
        let offset = self.offset.saturating_add(start);
        read_part(files, &self.name, self.file, offset, length).await
    }
}

impl Packed {
    fn per_word(&self) -> usize {
        8 * self.word_bytes / self.bits
    }

    /// True if one stored row holds for all rows of the matrix.
    fn is_shared(&self) -> bool {
        self.word_rows == 1 && !self.is_transposed && !self.is_packed_down
    }

    /// Reads the words of the given rows of the matrix.
    async fn read(&self, files: &Files, rows: &Range<usize>) -> Result<Block> {
        let per_word = self.per_word();
        let rows = match self.is_transposed != self.is_packed_down {
            true => rows.start / per_word..rows.end.div_ceil(per_word),
            false => rows.clone(),
        };
        let (rows, words) =
            if self.is_transposed { (0..self.word_rows, rows) } else { (rows, 0..self.words) };
        let stored_bytes = self.words * self.word_bytes;
        let row_bytes = words.len() * self.word_bytes;
        let is_whole = words.len() == self.words;
        let band = if is_whole { rows.len() } else { BAND_BYTES / stored_bytes };
        let mut bytes = Vec::new();
        for first in rows.clone().step_by(band.max(1)) {
            let count = band.max(1).min(rows.end - first);
            let [start, length] = [first, count].map(|rows| rows as u64 * stored_bytes as u64);
            let stored = self.part.read(files, start, length).await?;
            if is_whole {
                bytes = stored;
            } else {
                let rows = stored.chunks_exact(stored_bytes);
                let part = words.start * self.word_bytes..words.end * self.word_bytes;
                bytes.extend(rows.flat_map(|row| &row[part.clone()]));
            }
        }
        Ok(Block { first_row: rows.start, first_word: words.start, row_bytes, bytes })
    }

    /// Numbers of the given rows of the matrix, each with `columns` columns.
    async fn numbers<T: Copy + Default>(
        &self,
        files: &Files,
        rows: &Range<usize>,
        columns: usize,
        convert: impl Fn(u32) -> T,
    ) -> Result<Vec<T>> {
        let (rows, times) = if self.is_shared() { (0..1, rows.len()) } else { (rows.clone(), 1) };
        let block = self.read(files, &rows).await?;
        let mut numbers = vec![T::default(); rows.len() * columns];
        let mask = u32::MAX >> (32 - self.bits);
        let order = &self.order[..self.per_word()];
        for (line, index) in block.bytes.chunks_exact(block.row_bytes).zip(block.first_row..) {
            for (word, place) in line.chunks_exact(self.word_bytes).zip(block.first_word..) {
                let word = word.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
                for (number, position) in order.iter().enumerate() {
                    let (down, right) = match self.is_packed_down {
                        true => (index * order.len() + number, place),
                        false => (index, place * order.len() + number),
                    };
                    let (row, column) =
                        if self.is_transposed { (right, down) } else { (down, right) };
                    if rows.contains(&row) && column < columns {
                        let number = word >> (self.bits * usize::from(*position)) & mask;
                        numbers[(row - rows.start) * columns + column] = convert(number);
                    }
                }
            }
        }
        Ok(if times == 1 { numbers } else { numbers.repeat(times) })
    }
}

impl Matrix {
    /// Tensors of the matrix: file, offset, bytes and name.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, u64, u64, &String)> {
        let zeros = match &self.zeros {
            Zeros::Constant(_) => None,
            Zeros::Unsigned(zeros, _) | Zeros::Signed(zeros, _) => Some(&zeros.part),
        };
        let parts = [&self.quants.part, &self.scales.part];
        let parts = parts.into_iter().chain(zeros).chain(&self.group_index);
        parts.map(|part| (part.file, part.offset, part.size_bytes, &part.name))
    }

    /// Rewrites some rows.
    async fn rewritten(&self, files: &Files, rows: Range<usize>) -> Result<Vec<u8>> {
        let (groups, columns) = (self.groups, self.columns);
        let flip = if self.is_signed { 0x80 } else { 0 };
        let quants = self.quants.numbers(files, &rows, columns, |quant| quant as u8 ^ flip);
        let quants = quants.await?;
        let scales = self.scales.numbers(files, &rows, groups, |bits| match self.scale_kind {
            FloatKind::F16 => half::f16::from_bits(bits as u16).to_f32(),
            FloatKind::BF16 => f32::from_bits(bits << 16),
            FloatKind::F32 => f32::from_bits(bits),
        });
        let scales = scales.await?;
        let zeros = match &self.zeros {
            Zeros::Constant(zero) => vec![*zero; rows.len() * groups],
            Zeros::Unsigned(zeros, added) => {
                let mask = u32::MAX >> (32 - zeros.bits);
                let zero = |zero: u32| ((zero + added) & mask) as i32;
                zeros.numbers(files, &rows, groups, zero).await?
            }
            Zeros::Signed(zeros, added) => {
                let zero = |zero: u32| i32::from(zero as u8 as i8) + added;
                zeros.numbers(files, &rows, groups, zero).await?
            }
        };
        let index = self.group_index(files).await?;
        let row_bytes = self.format.row_bytes(columns)?;
        let mut rewritten = Vec::with_capacity(quants.len() / columns * row_bytes);
        let rows = scales.chunks_exact(groups).zip(zeros.chunks_exact(groups));
        for (quants, (scales, zeros)) in quants.chunks_exact(columns).zip(rows) {
            match self.format {
                Format::INT(int) => push_blocks(int, quants, scales, zeros, &index, &mut rewritten),
                _ => {
                    for (quant, group) in quants.iter().zip(&index) {
                        let value = (i32::from(*quant) - zeros[*group]) as f32 * scales[*group];
                        Int::push_float(self.scale_kind, value, &mut rewritten);
                    }
                }
            }
        }
        Ok(rewritten)
    }

    /// Group of each column; `malformed` if there is none of the stored index, or if the index is
    /// not in order and the format needs that.
    async fn group_index(&self, files: &Files) -> Result<Vec<usize>> {
        let in_order: Vec<usize> = (0..self.columns).map(|column| column / self.group).collect();
        let Some(part) = &self.group_index else { return Ok(in_order) };
        let stored = part.read(files, 0, part.size_bytes).await?;
        let groups = stored
            .chunks_exact(4)
            .map(|group| u32::from_le_bytes([group[0], group[1], group[2], group[3]]) as usize);
        let index: Vec<usize> = groups.collect();
        let needs_order = matches!(self.format, Format::INT(_));
        for (column, (group, expected)) in index.iter().zip(&in_order).enumerate() {
            let expected = match (needs_order && group != expected, *group < self.groups) {
                (false, true) => continue,
                (true, true) => format!("{expected}, or desc_act in config.json"),
                _ => format!("a group below {}", self.groups),
            };
            let field = format!("tensor {}", part.name);
            let found = format!("group {} of column {column}", *group as i32);
            let file = files[part.file].name();
            return Err(Error::malformed_value(file, &field, found, expected));
        }
        Ok(index)
    }
}

/// Appends the blocks of a row.
fn push_blocks(
    int: Int,
    quants: &[u8],
    scales: &[f32],
    zeros: &[i32],
    index: &[usize],
    row: &mut Vec<u8>,
) {
    let size = int.block_weights();
    for (quants, groups) in quants.chunks_exact(size).zip(index.chunks_exact(size)) {
        int.push_block(quants, scales[groups[0]], zeros[groups[0]], row);
    }
}

impl Integers {
    /// The rows from `first` on.
    pub(super) fn rows_from(&self, first: usize) -> Self {
        Self { first_row: self.first_row + first, matrix: self.matrix.clone() }
    }

    /// Reads and rewrites rows.
    pub(super) async fn read(
        &self,
        files: &Files,
        first_row: usize,
        row_count: usize,
    ) -> Result<Vec<u8>> {
        let matrix = &*self.matrix;
        let first = self.first_row + first_row;
        let rows = first..first + row_count;
        if !matrix.quants.is_transposed {
            return matrix.rewritten(files, rows).await;
        }
        let row_bytes = matrix.format.row_bytes(matrix.columns)?;
        let strip_rows = STRIP / row_bytes.max(matrix.columns) / STRIP_ROWS * STRIP_ROWS;
        let strip_rows = strip_rows.max(STRIP_ROWS);
        let mut read = Vec::with_capacity(row_count * row_bytes);
        let mut row = rows.start;
        while row < rows.end {
            let strip = row / strip_rows;
            let start = strip * strip_rows;
            let end = matrix.rows.min(start + strip_rows);
            if matrix.strip.borrow().as_ref().is_none_or(|(index, _)| *index != strip) {
                matrix.strip.take();
                let rewritten = matrix.rewritten(files, start..end).await?;
                matrix.strip.replace(Some((strip, rewritten)));
            }
            let until = end.min(rows.end);
            if let Some((_, rewritten)) = &*matrix.strip.borrow() {
                let bytes = (row - start) * row_bytes..(until - start) * row_bytes;
                read.extend_from_slice(&rewritten[bytes]);
            }
            row = until;
        }
        if rows.end == matrix.rows {
            matrix.strip.take();
        }
        Ok(read)
    }
}
