//! Tensors of a checkpoint: name, format, shape and place in a file.

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
    pub(super) fn own_bytes(&self) -> u64 {
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
            separate_scales: self.separate_scales.as_ref().map(|it| it.row_range(first, rows)),
            ..self.clone()
        })
    }

    /// Total number of weights.
    pub fn weights(&self) -> u64 {
        self.rows() as u64 * self.columns() as u64
    }
}

/// Scales of a tensor that are tensors of their own. A row consists of spans, each with a scale:
/// a row of FP8 weights, or a group of MLX weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeparateScales {
    /// Tensors whose values precede each span, in order: one value for each span, or one for all.
    pub(super) tensors: Vec<Tensor>,
    /// Spans per row.
    pub(super) spans: usize,
    /// Bytes of the weights of a span.
    pub(super) span_bytes: usize,
    /// True if the scales are converted to f32.
    pub(super) widened: bool,
}

impl SeparateScales {
    /// Scales of the rows `first .. first + rows`.
    fn row_range(&self, first: usize, rows: usize) -> Self {
        let mut part = self.clone();
        // A single value is that of all rows.
        for scales in part.tensors.iter_mut().filter(|scales| scales.weights() > 1) {
            let value_bytes = scales.size_bytes / scales.weights();
            scales.offset += value_bytes * (first * self.spans) as u64;
            scales.shape = vec![rows * self.spans];
            scales.size_bytes = value_bytes * (rows * self.spans) as u64;
        }
        part
    }

    /// Bytes of the weights of `rows` rows, without scales.
    pub(super) fn own_bytes(&self, rows: usize) -> u64 {
        rows as u64 * self.spans as u64 * self.span_bytes as u64
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
