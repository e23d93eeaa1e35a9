//! What the inputs of a product may lack, so that the product makes it up: `shaders/prologues/`.

use super::{Activation, CpuMemory};
use crate::formats::UNIT;

/// What a product's inputs lack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prologue {
    /// Nothing.
    Plain,
    /// The scale of a root-mean-square norm, one for each of equal parts of a row: they are
    /// multiplied by the norm's weights, and sums that add up to the squares of each part are
    /// behind the row's columns, see [`Activation::with_sums`].
    Rms {
        /// Equal parts of a row: one, or at most [`Prologue::MAX_PARTS`] of whole units.
        parts: u32,
        /// Sums behind the columns that are not only there to fill the row.
        sums: u32,
        /// Keeps the root away from zero.
        epsilon: f32,
    },
}

impl Prologue {
    /// The most parts that the shader has room for.
    pub const MAX_PARTS: u32 = 64;

    /// Whether a norm of rows that wide, by parts, can be left to products.
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

    /// A row of inputs, complete.
    pub(crate) fn complete(self, memory: &CpuMemory, x: &Activation, row: u32) -> Vec<f32> {
        let mut inputs = memory.row(x, row).to_vec();
        let Prologue::Rms { parts, sums, epsilon } = self else { return inputs };
        let (first, count) =
            (x.start(row) + Activation::stride_of(x.width) as usize, sums as usize);
        let sums = memory.read(x.buffer)[first..first + count].chunks_exact(count / parts as usize);
        let width = (x.width / parts) as usize;
        for (part, sums) in inputs.chunks_exact_mut(width).zip(sums) {
            let squares: f64 = sums.iter().copied().map(f64::from).sum();
            let scale = 1.0 / (squares / width as f64 + f64::from(epsilon)).sqrt();
            for x in part {
                *x = (f64::from(*x) * scale) as f32;
            }
        }
        inputs
    }
}
