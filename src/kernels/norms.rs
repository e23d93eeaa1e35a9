//! Root-mean-square norms (Zhang & Sennrich 2019): their scale, and the first half of a norm, which
//! can be fused into the kernel that writes its input (`shaders/partial_norms/`).

use std::ops::Range;

use super::{Activation, Binding, Buffer, CpuMemory};

/// `Σ x²`.
pub(super) fn sum_of_squares(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

/// `1 / √(squares / count + epsilon)`.
pub(super) fn rms_scale(squares: f64, count: usize, epsilon: f32) -> f64 {
    1.0 / (squares / count as f64 + f64::from(epsilon)).sqrt()
}

/// First half of a root-mean-square norm of a row `y`, fused into the kernel that writes `y`: the
/// row times the norm's weight, and partial sums of its squares. The products that read the
/// weighted row compute the scale from the sums and apply it: [`super::Prologue::Rms`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartialNorm {
    /// The norm's weight, `[width]`.
    pub weight: Buffer,
    /// `y · weight`, then a sum of squares from each workgroup: [`Activation::with_sums`].
    pub row: Activation,
}

impl PartialNorm {
    pub(super) fn bindings(&self) -> [Binding; 2] {
        [Binding::read(self.weight), Binding::write(self.row.buffer)]
    }

    pub(super) fn constants(&self) -> [(&'static str, f64); 2] {
        [("WEIGHTED_STRIDE", self.row.stride.into()), ("SQUARES", self.row.sums().into())]
    }

    /// CPU reference for the rows `rows` of `y`, which are written already.
    pub(super) fn reference(
        &self,
        memory: &mut CpuMemory,
        y: &Activation,
        rows: Range<u32>,
        columns_per_sum: usize,
    ) {
        memory.update(self.row.buffer, |memory, words| {
            for row in rows {
                let weighted = &mut words[self.row.start(row)..][..self.row.stride as usize];
                self.reference_row(memory, memory.row(y, row), columns_per_sum, weighted);
            }
        });
    }

    /// CPU reference for a row `y`: see [`weight_and_sum`].
    pub(super) fn reference_row(
        &self,
        memory: &CpuMemory,
        y: &[f32],
        columns_per_sum: usize,
        weighted: &mut [f32],
    ) {
        weight_and_sum(y, memory.read(self.weight), columns_per_sum, weighted);
    }
}

/// Writes a row times a norm's weight, then, after its columns, the sum of squares of each
/// `columns_per_sum` columns, then zeros.
pub(super) fn weight_and_sum(
    row: &[f32],
    weight: &[f32],
    columns_per_sum: usize,
    weighted: &mut [f32],
) {
    for ((weighted, x), weight) in weighted.iter_mut().zip(row).zip(weight) {
        *weighted = x * weight;
    }
    let sums = &mut weighted[Activation::stride_of(row.len() as u32) as usize..];
    sums.fill(0.0);
    for (sum, columns) in sums.iter_mut().zip(row.chunks(columns_per_sum)) {
        *sum = sum_of_squares(columns) as f32;
    }
}
