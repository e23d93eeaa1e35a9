//! Causal self-attention with a KV cache.

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
    /// Norms of query and key heads, if any.
    pub norms: Option<HeadNorms>,
}

/// Root-mean-square norms of query and key heads, before the rotation.
#[derive(Debug, Clone, Copy)]
pub struct HeadNorms {
    /// `[head_dim]`.
    pub q: Buffer,
    /// `[head_dim]`.
    pub k: Buffer,
    /// Epsilon of the norms.
    pub epsilon: f32,
}

/// Rotary positions of queries and keys.
#[derive(Debug, Clone, Copy)]
pub struct RotaryPositions {
    /// Table of cosines and sines, see [`crate::kernels::Rope`].
    pub table: Buffer,
    /// Rotated elements of a head.
    pub rotary_dim: u32,
    /// Pairing of the elements that are rotated together.
    pub pairing: Pairing,
}

/// Appends the attention of layer `layer_index`: projections, norms and rotation of heads, cache
/// update, attention over the cached positions, output projection. Its state is the KV cache.
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
