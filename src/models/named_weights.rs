//! Weights of a model, requested by their names in GGUF or in Hugging Face checkpoints.

use super::config::TensorNames;
use crate::kernels::Buffer;
use crate::plan::{Linear, Matrix, PlanBuilder};

/// Requests weights under the names of one kind of checkpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedWeights {
    /// True for the names in GGUF.
    pub(super) is_gguf: bool,
}

impl NamedWeights {
    /// A matrix `[outputs, inputs]`.
    pub(super) fn matrix(
        self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        [outputs, inputs]: [u32; 2],
    ) -> Matrix {
        plan.resources.weight_matrix(&names.of(self.is_gguf, layer), outputs, inputs)
    }

    /// A linear layer `[outputs, inputs]` without a bias.
    pub(super) fn linear(
        self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        shape: [u32; 2],
    ) -> Linear {
        Linear { weight: self.matrix(plan, names, layer, shape), bias: None }
    }

    /// A vector, `[length]`.
    pub(super) fn vector(
        self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        length: u32,
    ) -> Buffer {
        plan.resources.weight_vector(&names.of(self.is_gguf, layer), length)
    }
}
