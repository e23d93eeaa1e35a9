//! Self-attention with rotary positions and a key/value cache.

use crate::kernels::{Activation, Buffer, Pairing};
use crate::plan::{AttentionShape, Matrix, PlanBuilder};

/// Weights of one attention layer; shapes are `[outputs, inputs]`.
#[derive(Debug, Clone, Copy)]
pub struct AttentionWeights {
    /// `[head_count * head_dim, hidden]`.
    pub q: Matrix,
    /// `[kv_head_count * head_dim, hidden]`.
    pub k: Matrix,
    /// `[kv_head_count * head_dim, hidden]`.
    pub v: Matrix,
    /// `[hidden, head_count * head_dim]`.
    pub output: Matrix,
}

/// How positions turn queries and keys.
#[derive(Debug, Clone, Copy)]
pub struct RotaryPositions {
    /// Cosines and sines, see [`crate::kernels::Rope`].
    pub table: Buffer,
    /// Elements of a head that turn.
    pub rotary_dim: u32,
    /// Which elements turn together.
    pub pairing: Pairing,
}

/// Attention of layer `layer_index` over its whole past; the caches are the model's state.
pub fn attention(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    weights: &AttentionWeights,
    shape: AttentionShape,
    positions: RotaryPositions,
    layer_index: u32,
    context_length: u32,
) -> Activation {
    let q = plan.matmul(weights.q, x);
    let k = plan.matmul(weights.k, x);
    let v = plan.matmul(weights.v, x);
    for x in [q, k] {
        plan.rope(x, positions.table, shape.head_dim, positions.rotary_dim, positions.pairing);
    }
    let words = u64::from(context_length) * u64::from(k.width);
    let keys = plan.resources.state(&format!("layer {layer_index} keys"), words);
    let values = plan.resources.state(&format!("layer {layer_index} values"), words);
    plan.cache_store(k, keys);
    plan.cache_store(v, values);
    let y = plan.attention(q, keys, values, shape);
    plan.matmul(weights.output, y)
}
