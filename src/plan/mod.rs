//! Plans: the kernels of one step in order, over named buffers, as data.
//!
//! Reading order: [`resources`] (matrices, vectors, tables and state, common to all plans of a
//! model), [`vector_part`] (tensors in vectors), [`builder`] (the vocabulary in which models write
//! plans), [`stack`] (matrices that are bound together), [`fuse`] (kernels that become one),
//! [`layout`] (scratch buffers that share memory), [`sampling_plan`] (sampling of a token). A plan
//! is written once, at load, for a number of rows.

mod builder;
mod fuse;
mod layout;
mod resources;
mod sampling_plan;
mod stack;
mod vector_part;

pub use builder::PlanBuilder;
pub use fuse::fuse;
pub use layout::{Slots, assign_slots};
pub use resources::{
    Linear, Matrix, MatrixInfo, Resources, SharedBuffer, SharedRole, StateKind, TensorShapes,
};
pub use sampling_plan::SamplingPlan;
pub use stack::stack;
pub use vector_part::{Transform, VectorPart};

use std::ops::Range;

use crate::kernels::{Activation, Buffer, Kernel, MatmulTiling, MatvecStrategy, Prologue};

/// A kernel of a plan, with a label.
#[derive(Debug, Clone)]
pub struct PlannedKernel {
    /// The kernel.
    pub kernel: Kernel,
    /// Place in the model and name of the kernel, for people: `layer 3 rms_norm`.
    pub label: String,
}

/// The kernels of one step for at most `capacity` rows.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Largest number of rows of a step.
    pub capacity: u32,
    /// The kernels, in order.
    pub kernels: Vec<PlannedKernel>,
    /// The activation that each scratch buffer holds.
    pub scratch: Vec<Activation>,
    /// Result of the plan, `[rows or 1, vocabulary]`.
    pub logits: Activation,
}

impl Plan {
    /// Selects the strategy of matrix-vector products, each as far as its weight format allows.
    /// Must come before [`fuse`], which reserves words for a partial sum from each workgroup.
    pub fn use_strategy(&mut self, strategy: MatvecStrategy) {
        self.kernels.iter_mut().for_each(|planned| planned.kernel.use_strategy(strategy));
    }

    /// Selects the tiling of matrix products, and with it the loads of attention and SSM scan.
    pub fn use_tiling(&mut self, tiling: MatmulTiling) {
        self.kernels.iter_mut().for_each(|planned| planned.kernel.use_tiling(tiling));
    }

    /// Kernels of a step whose logits are not needed: those up to the last one that writes state of
    /// the sequence. The kernels after it, most of the last layer and the head, only lead to
    /// logits.
    pub fn without_logits(&self) -> Range<usize> {
        let writes_state = |planned: &PlannedKernel| {
            let written = || planned.kernel.bindings().into_iter().filter(|binding| binding.write);
            written().all(|binding| binding.buffer != self.logits.buffer)
                && written().any(|binding| matches!(binding.buffer, Buffer::Shared(_)))
        };
        0..self.kernels.iter().rposition(writes_state).map_or(0, |last| last + 1)
    }

    /// The final hidden state of a step: the input of the products that compute the logits, as they
    /// transform it, and the kernels before them. `None` if there is no product.
    pub fn hidden_state(&self) -> Option<(Range<usize>, Activation, Prologue)> {
        let inputs = || {
            self.kernels.iter().map(|planned| match &planned.kernel {
                Kernel::Matvec(matvec) => Some((matvec.product.x, matvec.prologue)),
                kernel => kernel.product().map(|product| (product.x, Prologue::Plain)),
            })
        };
        let last = inputs().flatten().last()?;
        let first = inputs().position(|input| input == Some(last))?;
        Some((0..first, last.0, last.1))
    }

    /// Bytes of the matrices that a step reads in full; rows of the embedding do not count.
    pub fn weight_bytes(&self) -> u64 {
        let kernels = self.kernels.iter().map(|planned| &planned.kernel);
        let matrices = kernels.filter(|kernel| kernel.reads_whole_matrix());
        matrices.filter_map(Kernel::matrix).map(|part| part.size_bytes()).sum()
    }
}
