//! Feed-forward layers.

use crate::kernels::{Activation, ActivationFunction};
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

/// Appends a feed-forward layer, `down(f(up(x)))`.
pub fn feed_forward(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    up: Linear,
    down: Linear,
    function: ActivationFunction,
) -> Activation {
    let hidden = plan.linear(up, x);
    let hidden = plan.elementwise(hidden, function);
    plan.linear(down, hidden)
}

/// Appends a gated feed-forward layer, `down(f(gate(x)) · up(x))`: SwiGLU and other gated linear
/// units (Shazeer 2020).
pub fn gated_feed_forward(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    weights: &GatedWeights,
    function: ActivationFunction,
) -> Activation {
    let gate = plan.linear(weights.gate, x);
    let up = plan.linear(weights.up, x);
    let hidden = plan.glu(gate, up, function);
    plan.linear(weights.down, hidden)
}
