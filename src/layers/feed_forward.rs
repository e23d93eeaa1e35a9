//! Feed-forward layers.

use crate::kernels::{Activation, Function};
use crate::plan::{Linear, PlanBuilder};

/// Weights of a gated feed-forward layer; shapes are `[outputs, inputs]`.
#[derive(Debug, Clone, Copy)]
pub struct GatedWeights {
    /// `[intermediate, hidden]`.
    pub gate: Linear,
    /// `[intermediate, hidden]`.
    pub up: Linear,
    /// `[hidden, intermediate]`.
    pub down: Linear,
}

/// `down(f(up(x)))`.
pub fn feed_forward(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    up: Linear,
    down: Linear,
    function: Function,
) -> Activation {
    let hidden = plan.linear(up, x);
    let hidden = plan.elementwise(hidden, function);
    plan.linear(down, hidden)
}

/// `down(f(gate(x)) · up(x))`: SwiGLU and its relatives (Shazeer 2020).
pub fn gated_feed_forward(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    weights: &GatedWeights,
    function: Function,
) -> Activation {
    let gate = plan.linear(weights.gate, x);
    let up = plan.linear(weights.up, x);
    let hidden = plan.gated_activation(gate, up, function);
    plan.linear(weights.down, hidden)
}
