//! Parts that the schemes of packed integers have in common.

use std::rc::Rc;

use ::safetensors::Dtype;

use super::Joiner;
use crate::error::{Code, Result, mismatch};
use crate::formats::{Format, Int};
use crate::weights::integers::{ASCENDING, Integers, Matrix, Packed, Part, Zeros};
use crate::weights::safetensors::header::{StoredTensor, unsupported_dtype};
use crate::weights::tensor::Tensor;

/// Maximum columns of a matrix, and bytes of a stored row, so that the memory of some rows can be
/// computed in 32 bits.
const MAX_COLUMNS: usize = 1 << 24;
const MAX_ROW_BYTES: usize = 1 << 28;

/// Tensors and numbers that decode the quants of a matrix.
pub(super) struct Decoding {
    /// Rows and columns.
    pub(super) shape: [usize; 2],
    /// Bits of a quant.
    pub(super) bits: usize,
    /// True if quants are signed bytes.
    pub(super) is_signed: bool,
    pub(super) zeros: Zeros,
    /// Groups per row.
    pub(super) groups: usize,
    /// Columns per group.
    pub(super) group: usize,
    /// True if each group is consecutive columns.
    pub(super) is_in_order: bool,
    /// Group of each column.
    pub(super) group_index: Option<StoredTensor>,
}

/// Shape as rows and columns: a vector is a column; `None` for more than two axes.
pub(super) fn matrix_shape(shape: &[usize]) -> Option<[usize; 2]> {
    match *shape {
        [] => Some([1, 1]),
        [rows] => Some([rows, 1]),
        [rows, columns] => Some([rows, columns]),
        _ => None,
    }
}

/// Place of a stored tensor.
fn part(stored: &StoredTensor) -> Part {
    let numbers = stored.shape.iter().fold(1, |product, axis| product * *axis as u64);
    let size_bytes = numbers * stored.dtype.bitsize() as u64 / 8;
    Part { name: stored.name.clone(), file: stored.file, offset: stored.offset, size_bytes }
}

/// A stored matrix of numbers of `bits` bits, at most as many as its elements have.
pub(super) fn packed(
    stored: &StoredTensor,
    bits: usize,
    is_transposed: bool,
    is_packed_down: bool,
) -> Packed {
    let [word_rows, elements] = matrix_shape(&stored.shape).unwrap_or([1, 1]);
    let element_bytes = stored.dtype.bitsize() / 8;
    // Four bytes of a row are as good as a word.
    let as_words = element_bytes == 1 && elements.is_multiple_of(4);
    let (words, word_bytes) = if as_words { (elements / 4, 4) } else { (elements, element_bytes) };
    let (part, order) = (part(stored), ASCENDING);
    Packed { part, word_rows, words, word_bytes, bits, is_transposed, is_packed_down, order }
}

impl Joiner<'_> {
    /// `malformed` if a tensor has another shape.
    pub(super) fn check_shape(&self, stored: &StoredTensor, shape: &[usize]) -> Result<()> {
        if stored.shape == shape {
            return Ok(());
        }
        let message = mismatch(format!("shape {:?}", stored.shape), format!("{shape:?}"));
        Err(self.error(Code::Malformed, stored.file, &stored.name, message))
    }

    /// A matrix of integers. Scales have the orientation of the quants.
    pub(super) fn integers(
        &self,
        name: String,
        quants: Packed,
        scales: StoredTensor,
        decoding: Decoding,
    ) -> Result<Tensor> {
        let dtype = scales.dtype.to_string();
        let float = Format::from_safetensors_dtype(&dtype);
        let file = self.files[scales.file].name();
        let scale_format = float.ok_or_else(|| unsupported_dtype(file, &scales.name, &dtype))?;
        let kind = scale_format.rules().float_kind();
        let scale_kind = kind.ok_or_else(|| unsupported_dtype(file, &scales.name, &dtype))?;
        let Decoding { shape: [rows, columns], bits, is_signed, zeros, groups, group, .. } =
            decoding;
        let row_bytes = quants.words.saturating_mul(quants.word_bytes);
        if columns > MAX_COLUMNS || row_bytes > MAX_ROW_BYTES {
            let found = format!("{columns} columns in rows of {row_bytes} bytes");
            let expected = format!("at most {MAX_COLUMNS} in {MAX_ROW_BYTES}");
            let Part { name, file, .. } = &quants.part;
            return Err(self.error(Code::Malformed, *file, name, mismatch(found, expected)));
        }
        let is_whole = |size: &usize| group.is_multiple_of(*size) && columns.is_multiple_of(*size);
        let block = [128, 64, 32].into_iter().find(is_whole).filter(|_| decoding.is_in_order);
        let bits = if bits <= 4 { 4 } else { 8 };
        let int = block.and_then(|block| Int::new(bits, block, scale_kind));
        let format = int.map_or(scale_format, Format::INT);
        if let Some(index) = &decoding.group_index {
            self.check_shape(index, &[columns])?;
            if index.dtype != Dtype::I32 {
                let file = self.files[index.file].name();
                return Err(unsupported_dtype(file, &index.name, &index.dtype.to_string()));
            }
        }
        let scale_bits = 8 * format_bytes(scale_format);
        let scales = packed(&scales, scale_bits, quants.is_transposed, false);
        let Part { file, offset, .. } = quants.part;
        let stored = StoredTensor {
            name,
            dtype: Dtype::I32,
            format_name: None,
            shape: vec![rows, columns],
            file,
            offset,
        };
        let tensor = self.tensor(stored, format, vec![rows, columns])?;
        let group_index = decoding.group_index.as_ref().map(part);
        let strip = Default::default();
        let matrix = Matrix {
            format,
            rows,
            columns,
            quants,
            is_signed,
            scales,
            scale_kind,
            zeros,
            groups,
            group,
            group_index,
            strip,
        };
        let integers = Integers { first_row: 0, matrix: Rc::new(matrix) };
        Ok(Tensor { integers: Some(integers), ..tensor })
    }
}

/// Bytes of a float.
fn format_bytes(format: Format) -> usize {
    format.rules().block_bytes()
}
