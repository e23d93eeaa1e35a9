//! Feed-forward layers.

use crate::kernels::Activation;
use crate::plan::{Matrix, PlanBuilder};

/// Weights of a gated feed-forward layer; shapes are `[outputs, inputs]`.
#[derive(Debug, Clone, Copy)]
pub struct GatedWeights {
    /// `[intermediate, hidden]`.
    pub gate: Matrix,
    /// `[intermediate, hidden]`.
    pub up: Matrix,
    /// `[hidden, intermediate]`.
    pub down: Matrix,
}

/// `down(silu(gate(x)) · up(x))`: SwiGLU (Shazeer 2020).
pub fn gated_feed_forward(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    weights: &GatedWeights,
) -> Activation {
    let gate = plan.matmul(weights.gate, x);
    let up = plan.matmul(weights.up, x);
    let hidden = plan.gated_activation(gate, up);
    plan.matmul(weights.down, hidden)
}
