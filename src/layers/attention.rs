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
    /// Norms of queries and keys, if any.
    pub norms: Option<QueryKeyNorms>,
}

/// Root-mean-square norms of queries and keys.
#[derive(Debug, Clone, Copy)]
pub struct QueryKeyNorms {
    /// `[head_dim]` if each head has a norm, else `[head_count * head_dim]`.
    pub q: Buffer,
    /// `[head_dim]` if each head has a norm, else `[kv_head_count * head_dim]`.
    pub k: Buffer,
    /// True if each head has a norm, false if all heads of a row have one in common.
    pub per_head: bool,
    /// True if the norms follow the rotation.
    pub after_rotation: bool,
    /// Epsilon of the norms.
    pub epsilon: f32,
}

impl QueryKeyNorms {
    fn append(
        self,
        plan: &mut PlanBuilder<'_, '_>,
        x: Activation,
        weight: Buffer,
        head_dim: u32,
    ) -> Activation {
        if self.per_head {
            plan.rms_norm_heads(x, weight, head_dim, self.epsilon)
        } else {
            plan.rms_norm(x, weight, self.epsilon)
        }
    }
}

/// Rotary positions of queries and keys.
#[derive(Debug, Clone, Copy)]
pub struct RotaryPositions {
    /// Table of cosines and sines for queries, see [`crate::kernels::Rope`].
    pub query_table: Buffer,
    /// Table for keys; usually the same.
    pub key_table: Buffer,
    /// Rotated elements of a head.
    pub rotary_dim: u32,
    /// Pairing of the elements that are rotated together.
    pub pairing: Pairing,
}

/// Appends the attention of layer `layer_index`: [`attention_heads`] and their output projection.
pub fn attention(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    weights: &AttentionWeights,
    shape: AttentionShape,
    positions: Option<RotaryPositions>,
    layer_index: u32,
    context_length: u32,
) -> Activation {
    let y = attention_heads(plan, x, weights, shape, positions, layer_index, context_length);
    plan.linear(weights.output, y)
}

/// Appends the attention of layer `layer_index` without output projection: projections, norms and
/// rotation of heads, cache update, attention over the cached positions. Its state is the KV cache.
pub fn attention_heads(
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
    let mut norm_heads = |plan: &mut PlanBuilder<'_, '_>, after_rotation| {
        if let Some(norms) = weights.norms.filter(|it| it.after_rotation == after_rotation) {
            q = norms.append(plan, q, norms.q, shape.head_dim);
            k = norms.append(plan, k, norms.k, shape.head_dim);
        }
        [q, k]
    };
    let [q, k] = norm_heads(plan, false);
    if let Some(positions) = positions {
        for (x, table) in [(q, positions.query_table), (k, positions.key_table)] {
            plan.rope(x, table, shape.head_dim, positions.rotary_dim, positions.pairing);
        }
    }
    let [q, k] = norm_heads(plan, true);
    // Rows of an encoder see later rows, which a ring may have no room for.
    let window = shape.window.filter(|_| shape.is_causal);
    let [keys, values] = [(k, "keys"), (v, "values")].map(|(x, kind)| {
        let name = format!("layer {layer_index} {kind}");
        plan.resources.window_cache(&name, x.width, context_length, window)
    });
    plan.cache_store(k, keys);
    plan.cache_store(v, values);
    plan.attention(q, keys, values, shape)
}
