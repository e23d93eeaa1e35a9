//! What will run, as data: the kernels of one step in order, over named buffers.
//!
//! Reading order: [`resources`] (what all plans of a model share: matrices, vectors, tables,
//! state), [`builder`] (the vocabulary in which models write plans), [`stack`] (which matrices are
//! bound together), [`fuse`] (which kernels become one), [`layout`] (which scratch buffers share
//! memory), [`tail`] (the choice of a token). A plan is written once at load for a row count and then
//! only run.

mod builder;
mod fuse;
mod layout;
mod resources;
mod stack;
mod tail;

pub use builder::{Linear, PlanBuilder};
pub use fuse::fuse;
pub use layout::{Slots, assign_slots};
pub use resources::{
    Matrix, MatrixInfo, Resources, SharedBuffer, SharedRole, StateKind, TensorShapes, Transform,
    VectorPart,
};
pub use stack::stack;
pub use tail::Tail;

use std::ops::Range;

use crate::kernels::{Activation, Buffer, Kernel, Tile, Variant};

/// A kernel in a plan and where it comes from.
#[derive(Debug, Clone)]
pub struct PlannedKernel {
    /// What runs.
    pub kernel: Kernel,
    /// For people: the layer and the kernel, e.g. `layer 3 rms_norm`.
    pub label: String,
}

/// The kernels of one step for at most `capacity` rows.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The most rows a step may have.
    pub capacity: u32,
    /// What runs, in order.
    pub kernels: Vec<PlannedKernel>,
    /// The activation that each scratch buffer holds.
    pub scratch: Vec<Activation>,
    /// What the plan is for: `[rows or 1, vocabulary]`.
    pub logits: Activation,
}

impl Plan {
    /// Has products of few rows computed by that variant, as far as it is one for their weights.
    pub fn vary(&mut self, variant: Variant) {
        for planned in &mut self.kernels {
            if let Kernel::Matvec(matvec) = &mut planned.kernel {
                matvec.variant = variant.of(matvec.product.matrix.format);
            }
        }
    }

    /// Has products of many rows computed by that tile; where its lanes load for each other, so do those of
    /// attentions and scans.
    pub fn tile(&mut self, tile: Tile) {
        for planned in &mut self.kernels {
            match &mut planned.kernel {
                Kernel::Matmul(matmul) => matmul.tile = tile,
                Kernel::Attention(attention) => attention.tile = tile,
                Kernel::SsmScan(scan) => scan.tile = tile,
                _ => {}
            }
        }
    }

    /// The kernels of a step whose logits nobody wants: up to the last one that writes what the sequence
    /// carries. Those after it, most of the last layer and the head, are for the logits alone, and so is what
    /// the head writes beside them.
    pub fn without_logits(&self) -> Range<usize> {
        let carries = |planned: &PlannedKernel| {
            let written = || planned.kernel.bindings().into_iter().filter(|binding| binding.write);
            written().all(|binding| binding.buffer != self.logits.buffer)
                && written().any(|binding| matches!(binding.buffer, Buffer::Shared(_)))
        };
        0..self.kernels.iter().rposition(carries).map_or(0, |last| last + 1)
    }

    /// Bytes of weights that one step reads: matrices in full, the embedding's rows not counted.
    pub fn weight_bytes(&self) -> u64 {
        let matrices =
            self.kernels.iter().filter(|planned| !matches!(planned.kernel, Kernel::Embed(_)));
        matrices.filter_map(|planned| planned.kernel.matrix()).map(|part| part.size_bytes()).sum()
    }
}
