//! The mixer of a Mamba-2 layer.

use crate::kernels::{Activation, Buffer, ScanBuffers, ScanShape};
use crate::plan::{Matrix, PlanBuilder};

/// Weights of one mixer; shapes are `[outputs, inputs]`.
#[derive(Debug, Clone, Copy)]
pub struct MambaWeights {
    /// `[z, x, B, C and dt, hidden]`.
    pub input: Matrix,
    /// See [`ScanBuffers::conv`].
    pub conv: Buffer,
    /// See [`ScanBuffers::scalars`].
    pub scalars: Buffer,
    /// `[inner]`.
    pub norm: Buffer,
    /// `[hidden, inner]`.
    pub output: Matrix,
}

/// The Mamba-2 mixer (Dao & Gu 2024) of layer `layer_index`: the gate comes before the norm, which
/// takes each group of heads alone. The convolution's last inputs and the scan's state are the
/// model's state.
pub fn mamba_mixer(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    weights: &MambaWeights,
    shape: ScanShape,
    epsilon: f32,
    layer_index: u32,
) -> Activation {
    let projected = plan.matmul(weights.input, x);
    let mut state = |what: &str, words| {
        plan.resources.recurrent_state(&format!("layer {layer_index} {what}"), words)
    };
    let ring = state("inputs", shape.ring_words());
    let state = state("scan", shape.state_words());
    let buffers = ScanBuffers { conv: weights.conv, scalars: weights.scalars, ring, state };
    let y = plan.scan(projected, buffers, shape);
    let y = plan.rms_norm_by_parts(y, weights.norm, shape.group_count, epsilon);
    plan.matmul(weights.output, y)
}
