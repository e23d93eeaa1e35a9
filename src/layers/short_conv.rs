//! The short convolution layer of LFM2 (Liquid AI 2025), for every model that has one.

use crate::kernels::{Activation, Buffer, ShortConv};
use crate::plan::{Matrix, PlanBuilder};

/// Weights of one short convolution layer; shapes are `[outputs, inputs]`.
#[derive(Debug, Clone, Copy)]
pub struct ShortConvWeights {
    /// Input projection to B, C and u: `[3 * hidden, hidden]`.
    pub input: Matrix,
    /// `[hidden, kernel]`.
    pub conv: Buffer,
    /// Rows that the convolution sees, the current one included.
    pub kernel: u32,
    /// Output projection, `[hidden, hidden]`.
    pub output: Matrix,
}

/// Appends the short convolution of layer `layer_index`: input projection, gated convolution,
/// output projection. Its state is the last inputs of the convolution.
pub fn short_conv(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    weights: &ShortConvWeights,
    layer_index: u32,
) -> Activation {
    let projected = plan.matmul(weights.input, x);
    let words = ShortConv::ring_words(projected.width / 3, weights.kernel);
    let ring = plan.resources.recurrent_state(&format!("layer {layer_index} products"), words);
    let y = plan.short_conv(projected, weights.conv, ring, weights.kernel);
    plan.matmul(weights.output, y)
}
