//! Fused input transforms of a matrix-vector product: `shaders/prologues/`.

use super::norms::rms_scale;
use super::{Activation, CpuMemory};
use crate::formats::UNIT;

/// Transform that a product applies to its inputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prologue {
    /// Inputs as they are.
    Plain,
    /// Second half of a root-mean-square norm: multiplies each equal part of a row by its scale.
    /// The kernel that wrote the inputs computed the first half ([`super::PartialNorm`]): it
    /// multiplied them by the norm's weight and stored partial sums of the squares of each part
    /// after the columns of a row ([`Activation::with_sums`]).
    Rms {
        /// Equal parts of a row: 1, or at most [`Prologue::MAX_PARTS`] of whole units.
        parts: u32,
        /// Partial sums of a row, padding not counted.
        sums: u32,
        /// Added to the mean of squares before its root.
        epsilon: f32,
    },
}

impl Prologue {
    /// Largest number of parts that the shader has workgroup memory for.
    pub const MAX_PARTS: u32 = 64;

    /// True if products can apply the scales of a norm over `parts` parts of rows of `width`
    /// columns.
    pub(crate) fn can_norm(width: u32, parts: u32) -> bool {
        parts == 1 || (parts <= Self::MAX_PARTS && width.is_multiple_of(parts * UNIT as u32))
    }

    pub(super) fn file(self) -> &'static str {
        match self {
            Prologue::Plain => "prologues/plain",
            Prologue::Rms { parts: 1, .. } => "prologues/rms",
            Prologue::Rms { .. } => "prologues/rms_by_parts",
        }
    }

    pub(super) fn constants(self) -> Vec<(&'static str, f64)> {
        match self {
            Prologue::Plain => Vec::new(),
            Prologue::Rms { parts: 1, epsilon, .. } => vec![("EPSILON", epsilon.into())],
            Prologue::Rms { parts, sums, epsilon } => {
                vec![
                    ("EPSILON", epsilon.into()),
                    ("PARTS", parts.into()),
                    ("SUMS", (sums / parts).into()),
                ]
            }
        }
    }

    /// CPU reference: the inputs of a row, transformed.
    pub(super) fn reference_row(self, memory: &CpuMemory, x: &Activation, row: u32) -> Vec<f32> {
        self.transformed(x, &memory.read(x.buffer)[x.start(row)..][..x.stride as usize])
    }

    /// The inputs of a row, transformed; `words` are all of the row, its partial sums included.
    pub(crate) fn transformed(self, x: &Activation, words: &[f32]) -> Vec<f32> {
        let mut inputs = words[..x.width as usize].to_vec();
        let Prologue::Rms { parts, sums, epsilon } = self else { return inputs };
        let sums = &words[Activation::stride_of(x.width) as usize..][..sums as usize];
        let sums = sums.chunks_exact(sums.len() / parts as usize);
        let width = (x.width / parts) as usize;
        for (part, sums) in inputs.chunks_exact_mut(width).zip(sums) {
            let squares: f64 = sums.iter().copied().map(f64::from).sum();
            let scale = rms_scale(squares, width, epsilon);
            for x in part {
                *x = (f64::from(*x) * scale) as f32;
            }
        }
        inputs
    }
}
