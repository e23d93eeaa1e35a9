//! Self-attention with a key/value cache.

use crate::kernels::{Activation, AttentionShape, Buffer, Pairing};
use crate::plan::{Linear, PlanBuilder};

/// Weights of one attention layer; shapes are `[outputs, inputs]`.
#[derive(Debug, Clone, Copy)]
pub struct AttentionWeights {
    /// `[head_count * head_dim, hidden]`.
    pub q: Linear,
    /// `[kv_head_count * head_dim, hidden]`.
    pub k: Linear,
    /// `[kv_head_count * head_dim, hidden]`.
    pub v: Linear,
    /// `[hidden, head_count * head_dim]`.
    pub output: Linear,
    /// Norms of each query and key head, if there are any.
    pub norms: Option<HeadNorms>,
}

/// Root-mean-square norms of query and key heads, before positions turn them.
#[derive(Debug, Clone, Copy)]
pub struct HeadNorms {
    /// `[head_dim]`.
    pub q: Buffer,
    /// `[head_dim]`.
    pub k: Buffer,
    /// Keeps the roots away from zero.
    pub epsilon: f32,
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

/// Attention of layer `layer_index` over its past; the caches are the model's state.
pub fn attention(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    weights: &AttentionWeights,
    shape: AttentionShape,
    positions: Option<RotaryPositions>,
    layer_index: u32,
    context_length: u32,
) -> Activation {
    let mut q = plan.linear(weights.q, x);
    let mut k = plan.linear(weights.k, x);
    let v = plan.linear(weights.v, x);
    if let Some(norms) = weights.norms {
        q = plan.rms_norm_heads(q, norms.q, shape.head_dim, norms.epsilon);
        k = plan.rms_norm_heads(k, norms.k, shape.head_dim, norms.epsilon);
    }
    if let Some(positions) = positions {
        for x in [q, k] {
            plan.rope(x, positions.table, shape.head_dim, positions.rotary_dim, positions.pairing);
        }
    }
    let keys = plan.resources.cache(&format!("layer {layer_index} keys"), k.width, context_length);
    let values =
        plan.resources.cache(&format!("layer {layer_index} values"), v.width, context_length);
    plan.cache_store(k, keys);
    plan.cache_store(v, values);
    let y = plan.attention(q, keys, values, shape);
    plan.linear(weights.output, y)
}
