//! Tensors of a checkpoint: name, format, shape and place in a file.

use super::integers::Integers;
use crate::error::{Code, Error, Result, mismatch};
use crate::formats::Format;

/// Maximum tensors in a file.
pub(super) const MAX_TENSORS: u64 = 1_000_000;
/// Maximum weights of a tensor, so that later arithmetic on sizes cannot overflow.
const MAX_WEIGHTS: u64 = 1 << 40;

/// A tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name in the file.
    pub name: String,
    /// Storage format of the weights.
    pub format: Format,
    /// Shape in row-major order, outermost axis first: a matrix is `(out, in)`. Empty for a scalar.
    pub shape: Vec<usize>,
    /// Index into [`Checkpoint::files`](super::Checkpoint::files).
    pub file: usize,
    /// Absolute byte offset in that file.
    pub offset: u64,
    /// Size in bytes as read by [`Checkpoint::read_rows`](super::Checkpoint::read_rows), including
    /// separate scales.
    pub size_bytes: u64,
    /// Scales that are tensors of their own, and are interleaved with the weights when rows are
    /// read.
    pub separate_scales: Option<SeparateScales>,
    /// Packed integers, which are rewritten in `format` when rows are read.
    pub integers: Option<Integers>,
}

impl Tensor {
    /// Number of rows: the product of all axes but the last.
    pub fn rows(&self) -> usize {
        self.shape.split_last().map_or(1, |(_, outer)| outer.iter().product())
    }

    /// Weights per row: the last axis.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Bytes of the tensor in its file, without separate scales.
    fn own_bytes(&self) -> u64 {
        let scales = self.separate_scales.as_ref();
        scales.map_or(self.size_bytes, |scales| scales.own_bytes(self.rows()))
    }

    /// Rows `first .. first + rows` of a matrix, or elements of a vector, as a tensor of its own;
    /// an error if the format stores vectors in blocks.
    pub(super) fn row_range(&self, name: String, first: usize, rows: usize) -> Result<Tensor> {
        let mut shape = self.shape.clone();
        shape[0] = rows;
        let row_bytes = match &self.separate_scales {
            Some(scales) => scales.own_bytes(1),
            None => self.format.row_bytes(self.shape[1..].iter().product())? as u64,
        };
        Ok(Tensor {
            name,
            offset: self.offset + row_bytes * first as u64,
            size_bytes: size_bytes(self.format, &shape)?,
            shape,
            separate_scales: self.separate_scales.as_ref().map(|it| it.starting_at(first)),
            integers: self.integers.as_ref().map(|integers| integers.rows_from(first)),
            ..self.clone()
        })
    }

    /// Tensors in files that this tensor consists of: file, offset, bytes and name.
    pub(super) fn parts(&self) -> Vec<(usize, u64, u64, &String)> {
        if let Some(integers) = &self.integers {
            return integers.matrix.parts().collect();
        }
        let scales = self.separate_scales.iter().flat_map(SeparateScales::tensors);
        let scales = scales.map(|it| (it.file, it.offset, it.size_bytes(), &it.name));
        [(self.file, self.offset, self.own_bytes(), &self.name)].into_iter().chain(scales).collect()
    }

    /// Total number of weights.
    pub fn weights(&self) -> u64 {
        self.rows() as u64 * self.columns() as u64
    }
}

/// Scales of a tensor that are tensors of their own. A row consists of numbers for the row, in f32,
/// and spans: numbers for the span, as stored, then the weights of the span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeparateScales {
    /// Numbers in front of each row.
    pub(super) row: Vec<RowNumber>,
    /// Numbers in front of each span.
    pub(super) span: Vec<Numbers>,
    /// Spans per row.
    pub(super) spans: usize,
    /// Bytes of the weights of a span.
    pub(super) span_bytes: usize,
    /// Change of the order of weights that makes blocks of the tensor's format.
    pub(super) order: Order,
}

/// A number in front of each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowNumber {
    /// The number 1, where a scheme has no such number.
    One,
    /// Numbers of a tensor.
    Of(Numbers),
}

/// A tensor of numbers that belong to the weights of another: one number for each row or span, for
/// each span of several rows, or one for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) name: String,
    pub(super) file: usize,
    pub(super) offset: u64,
    /// Bytes of a number.
    pub(super) width: usize,
    /// Numbers in the tensor.
    pub(super) count: usize,
    /// Format of the numbers; `None` for bytes that the format of the weights decodes.
    pub(super) format: Option<Format>,
    /// True if the numbers are converted to f32.
    pub(super) widened: bool,
    /// Rows of weights that share numbers.
    pub(super) shared_rows: usize,
    /// Row of weights that is the first, in part of a tensor.
    pub(super) first_row: usize,
}

/// Order of the weights of a span in a file, relative to that in blocks of their format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The order of the format.
    AsStored,
    /// Nibbles in order, for formats whose bytes have nibbles `i` and `16 + i`.
    Nibbles,
    /// Blocks of NVFP4 in GGUF, for NVFP4_F32.
    Nvfp4,
}

impl Order {
    /// Puts the weights of a span into the order of their format.
    pub(super) fn arrange(self, span: &mut [u8]) {
        let nibble = |bytes: &[u8], i: usize| (bytes[i / 2] >> (4 * (i % 2))) & 15;
        match self {
            Order::AsStored => {}
            Order::Nibbles => {
                for block in span.as_chunks_mut::<16>().0 {
                    let stored = *block;
                    *block = std::array::from_fn(|i| {
                        nibble(&stored, i) | (nibble(&stored, 16 + i) << 4)
                    });
                }
            }
            Order::Nvfp4 => {
                for block in span.as_chunks_mut::<36>().0 {
                    let (scales, stored) = block.split_at(4);
                    // As ggml reads scales: without sign, and 0x7f as zero.
                    let scale = |group: usize| match scales[group] {
                        0x7f => 0,
                        scale => scale & 0x7f,
                    };
                    let byte = |group: usize, i: usize| {
                        let low = |weight: usize| {
                            (stored[8 * group + weight % 8] >> (weight / 8 * 4)) & 15
                        };
                        low(2 * i) | (low(2 * i + 1) << 4)
                    };
                    *block = std::array::from_fn(|at| match (at / 9, at % 9) {
                        (group, 0) => scale(group),
                        (group, at) => byte(group, at - 1),
                    });
                }
            }
        }
    }
}

impl SeparateScales {
    /// Scales of the rows from `first` on.
    fn starting_at(&self, first: usize) -> Self {
        let mut part = self.clone();
        let of_row = part.row.iter_mut().filter_map(|number| match number {
            RowNumber::One => None,
            RowNumber::Of(numbers) => Some(numbers),
        });
        of_row.chain(&mut part.span).for_each(|numbers| numbers.first_row += first);
        part
    }

    /// Bytes of the weights of `rows` rows, without scales.
    pub(super) fn own_bytes(&self, rows: usize) -> u64 {
        rows as u64 * self.spans as u64 * self.span_bytes as u64
    }

    /// The tensors of scales.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Numbers> {
        let of_row = self.row.iter().filter_map(|number| match number {
            RowNumber::One => None,
            RowNumber::Of(numbers) => Some(numbers),
        });
        of_row.chain(&self.span)
    }
}

impl Numbers {
    /// All numbers of a tensor, for one row or span each. Floats are converted to f32; without a
    /// format, numbers are bytes.
    pub(super) fn new(
        name: String,
        file: usize,
        offset: u64,
        count: usize,
        format: Option<Format>,
    ) -> Self {
        let width = format.map_or(1, |format| format.rules().block_bytes());
        let widened = format.is_some();
        Self { name, file, offset, width, count, format, widened, shared_rows: 1, first_row: 0 }
    }

    /// Bytes of the tensor.
    pub(super) fn size_bytes(&self) -> u64 {
        self.width as u64 * self.count as u64
    }
}

/// Size in bytes of a tensor. The error message names neither file nor tensor.
pub(super) fn size_bytes(format: Format, shape: &[usize]) -> Result<u64> {
    let row_bytes = format.row_bytes(shape.last().copied().unwrap_or(1))?;
    let weights = shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis));
    let weights = weights.filter(|&weights| weights as u64 <= MAX_WEIGHTS).ok_or_else(|| {
        Error::new(Code::Malformed, mismatch("too many weights", format!("at most {MAX_WEIGHTS}")))
    })?;
    // Neither overflows: the limit leaves room for the largest format and for sums of tensors.
    let rows = weights / shape.last().copied().unwrap_or(1).max(1);
    Ok(rows as u64 * row_bytes as u64)
}

/// Byte range that a tensor claims in its file, before it is validated.
pub(super) struct Claim<'a> {
    pub(super) name: &'a str,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// `malformed` if two claims overlap.
pub(super) fn check_overlaps(file: &str, mut claims: Vec<Claim<'_>>) -> Result<()> {
    claims.sort_by_key(|claim| (claim.start, claim.end));
    for pair in claims.windows(2) {
        if pair[1].start < pair[0].end {
            return Err(Error::malformed_value(
                file,
                &format!("tensor {}", pair[1].name),
                format!("a start at byte {}", pair[1].start),
                format!("at least byte {}, the end of tensor {}", pair[0].end, pair[0].name),
            ));
        }
    }
    Ok(())
}
