//! LFM2 and LFM2.5: short convolutions and grouped-query attention with norms of query and key
//! heads, each followed by a gated feed-forward layer.
//!
//! Reference: Liquid AI 2025 (LFM2); where the report is silent, `Lfm2ForCausalLM` in Hugging Face
//! transformers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, TensorNames, names};
use super::decoder::{Decoder, Names, NormExtent, head_dim, read_attention};
use super::proportional_rotary::ProportionalRotary;
use super::rotary::Rotary;
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction, AttentionShape, ShortConv};
use crate::layers::{ShortConvWeights, attention_heads, gated_feed_forward, short_conv};
use crate::plan::{PlanBuilder, VectorPart};

names! {
    OPERATOR_NORM: "blk.{}.attn_norm.weight", "model.layers.{}.operator_norm.weight";
    CONV: "blk.{}.shortconv.conv.weight", "model.layers.{}.conv.conv.weight";
    CONV_INPUT: "blk.{}.shortconv.in_proj.weight", "model.layers.{}.conv.in_proj.weight";
    CONV_OUTPUT: "blk.{}.shortconv.out_proj.weight", "model.layers.{}.conv.out_proj.weight";
    Q_NORM: "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_layernorm.weight";
    K_NORM: "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_layernorm.weight";
    ATTENTION_OUTPUT: "blk.{}.attn_output.weight", "model.layers.{}.self_attn.out_proj.weight";
    POST_FEED_FORWARD_NORM: "blk.{}.post_ffw_norm.weight", "model.layers.{}.post_ffn_norm.weight";
    FEED_FORWARD_NORM: "blk.{}.ffn_norm.weight", "model.layers.{}.ffn_norm.weight";
    GATE: "blk.{}.ffn_gate.weight", "model.layers.{}.feed_forward.w1.weight";
    UP: "blk.{}.ffn_up.weight", "model.layers.{}.feed_forward.w3.weight";
    DOWN: "blk.{}.ffn_down.weight", "model.layers.{}.feed_forward.w2.weight";
    OUTPUT_NORM: "token_embd_norm.weight", "model.embedding_norm.weight";
}

/// Names of LFM2's tensors.
pub(super) const NAMES: Names = Names {
    q_norm: Q_NORM,
    k_norm: K_NORM,
    attention_output: ATTENTION_OUTPUT,
    gate: GATE,
    up: UP,
    down: DOWN,
    output_norm: OUTPUT_NORM,
};

/// First part of a layer, before the feed-forward layer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operator {
    Convolution,
    Attention(AttentionShape),
}

/// Rotary positions of layers with full attention.
pub(super) enum FullRotary {
    Scaled(Rotary),
    Proportional(ProportionalRotary),
}

/// Parts of the configuration in which LFM2 and LFM3 differ.
pub(super) struct Features {
    pub(super) names: Names,
    /// Operator of each layer.
    pub(super) operators: Vec<Operator>,
    /// Columns of the feed-forward layers.
    pub(super) intermediate: u32,
    /// Positions in layers with full attention.
    pub(super) rotary: FullRotary,
    /// Positions in layers with a window, if different.
    pub(super) local_rotary: Option<Rotary>,
    /// Matrix of the gates of attention heads, if there are gates.
    pub(super) gate: Option<TensorNames>,
    /// Norm of the operator's output, if there is one; the feed-forward layer has one too then.
    pub(super) post_norm: Option<TensorNames>,
}

/// A decoder of LFM's layers.
pub(super) struct Lfm {
    decoder: Decoder,
    features: Features,
    /// Rows that a convolution sees.
    conv_kernel: u32,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    if let Some(count) = source.gguf_count("decision.block_count")?.filter(|count| *count > 0) {
        let field = source.field("decision.block_count", "");
        return Err(source.unsupported(&field, count, "a model that generates text"));
    }
    if source.gguf_flag("attention.causal")? == Some(false) {
        let field = source.field("attention.causal", "");
        return Err(source.unsupported(&field, false, "true"));
    }
    let intermediate = if source.is_gguf() {
        source.required_width("feed_forward_length", "")?
    } else {
        intermediate_size(source)?
    };
    let rotary = Rotary::read(source, head_dim(source, None)?, "rope_parameters", 1_000_000.0)?;
    let features = Features {
        names: NAMES,
        operators: operators(source)?,
        intermediate,
        rotary: FullRotary::Scaled(rotary),
        local_rotary: None,
        gate: None,
        post_norm: None,
    };
    Ok(Box::new(Lfm::read(source, features, 3)?))
}

/// Columns of the feed-forward layers in `config.json`, which may be stated before an adjustment.
fn intermediate_size(source: &ConfigSource<'_>) -> Result<u32> {
    let field = source.spelling(&["block_ff_dim", "intermediate_size"]);
    let stated = source.required_width("", field)?;
    if source.flag("block_auto_adjust_ff_dim")? == Some(false) {
        return Ok(stated);
    }
    let factor = source.number("", "block_ffn_dim_multiplier")?.unwrap_or(1.0);
    let multiple = source.count("", "block_multiple_of")?.unwrap_or(256);
    if multiple == 0 {
        return Err(source.malformed("block_multiple_of", 0, "at least 1"));
    }
    // Bounded, so that the rounding up cannot overflow.
    let scaled = ((factor * f64::from(2 * stated / 3)) as u64).min(1 << 32);
    let adjusted = scaled.next_multiple_of(multiple.into());
    source.check_width(&format!("{field}, adjusted"), adjusted)
}

/// Reads the operator of each layer: from GGUF, where a convolution has no KV heads, or from the
/// types or indices of layers in `config.json`.
fn operators(source: &ConfigSource<'_>) -> Result<Vec<Operator>> {
    let layer_count = source.layer_count()?;
    if source.is_gguf() {
        let window = source.count("attention.sliding_window", "")?.filter(|window| *window > 0);
        let counts = source.layer_counts("attention.head_count_kv", "", layer_count)?;
        let operators = counts.into_iter().map(|count| match count {
            0 => Ok(Operator::Convolution),
            count => {
                let shape = read_attention(source, count, None)?;
                Ok(Operator::Attention(AttentionShape { window, ..shape }))
            }
        });
        return operators.collect();
    }
    let kv_head_count = source.count("", "num_key_value_heads")?.unwrap_or(8);
    let shape = read_attention(source, kv_head_count, None)?;
    let operator = |is_attention| match is_attention {
        true => Operator::Attention(shape),
        false => Operator::Convolution,
    };
    if let Some(kinds) = source.layer_kinds("layer_types", layer_count)? {
        let operators = kinds.into_iter().map(|kind| match kind {
            "conv" => Ok(operator(false)),
            "full_attention" => Ok(operator(true)),
            other => Err(source.unsupported("layer_types", other, "conv or full_attention")),
        });
        return operators.collect();
    }
    let Some(list) = source.list("full_attn_idxs")? else {
        return Ok(vec![operator(true); layer_count as usize]);
    };
    let indices: Option<BTreeSet<u64>> = list.iter().map(Value::as_u64).collect();
    let indices = indices.ok_or_else(|| {
        source.malformed("full_attn_idxs", Value::from(list), "indices of layers")
    })?;
    Ok((0..layer_count).map(|layer| operator(indices.contains(&layer.into()))).collect())
}

impl Lfm {
    /// Reads the rest of the configuration; `conv_kernel` is the default of its field.
    pub(super) fn read(
        source: &ConfigSource<'_>,
        features: Features,
        conv_kernel: u32,
    ) -> Result<Self> {
        if source.flag("conv_bias")? == Some(true) {
            return Err(source.unsupported("conv_bias", true, "false"));
        }
        let Features { names, intermediate, .. } = features;
        let mut decoder = Decoder::without_attention(source, intermediate, true)?;
        (decoder.names, decoder.query_key_norms) = (names, Some(NormExtent::Head));
        source.check_width(
            "width of the input projection of convolutions",
            3 * u64::from(decoder.hidden),
        )?;
        Ok(Self { decoder, conv_kernel: read_conv_kernel(source, conv_kernel)?, features })
    }

    fn conv_weights(&self, plan: &mut PlanBuilder<'_, '_>, layer: u32) -> ShortConvWeights {
        let (decoder, kernel) = (&self.decoder, self.conv_kernel);
        let hidden = decoder.hidden;
        let conv = VectorPart::new(CONV.of(decoder.is_gguf, layer), &[hidden, kernel]);
        ShortConvWeights {
            input: decoder.linear(plan, CONV_INPUT, layer, [3 * hidden, hidden], None).weight,
            conv: plan.resources.packed_vector(vec![conv]),
            kernel,
            output: decoder.linear(plan, CONV_OUTPUT, layer, [hidden, hidden], None).weight,
        }
    }

    fn attention(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        h: Activation,
        shape: AttentionShape,
        layer: u32,
        context_length: u32,
    ) -> Activation {
        let decoder = &self.decoder;
        let weights = decoder.attention_weights_of(plan, shape, layer);
        let Features { rotary, local_rotary, gate, .. } = &self.features;
        let positions = match (shape.window, local_rotary, rotary) {
            (Some(_), Some(local), _) => local.positions(plan, context_length),
            (_, _, FullRotary::Scaled(rotary)) => rotary.positions(plan, context_length),
            (_, _, FullRotary::Proportional(rotary)) => rotary.positions(plan, context_length),
        };
        let positions = Some(positions);
        let mut y = attention_heads(plan, h, &weights, shape, positions, layer, context_length);
        if let Some(gate) = gate {
            let outputs = shape.head_count;
            let gate = decoder.linear(plan, *gate, layer, [outputs, decoder.hidden], None);
            let gates = plan.linear(gate, h);
            y = plan.gate_heads(y, gates);
        }
        plan.linear(weights.output, y)
    }

    /// `x + y`, or `x + norm(y)` if there is a norm.
    fn add_normed(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        x: Activation,
        y: Activation,
        norm: Option<TensorNames>,
        layer: u32,
    ) -> Activation {
        let y = norm.map_or(y, |norm| self.decoder.norm(plan, norm, layer, y));
        plan.add(x, y)
    }
}

/// Reads the rows that a convolution sees.
fn read_conv_kernel(source: &ConfigSource<'_>, default: u32) -> Result<u32> {
    let (gguf, hugging_face) = ("shortconv.l_cache", "conv_L_cache");
    let field = source.field(gguf, hugging_face);
    let found = source.count(gguf, hugging_face)?;
    let kernel = if source.is_gguf() {
        found.ok_or_else(|| source.malformed(&field, "nothing", "a count"))?
    } else {
        found.unwrap_or(default)
    };
    if !(2..=ShortConv::MAX_KERNEL).contains(&kernel) {
        let expected = format!("2 to {}", ShortConv::MAX_KERNEL);
        return Err(source.unsupported(&field, kernel, &expected));
    }
    Ok(kernel)
}

impl Architecture for Lfm {
    fn shape(&self) -> Shape {
        self.decoder.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        let decoder = &self.decoder;
        let mut x = decoder.embed(plan);
        for (layer, operator) in (0..).zip(&self.features.operators) {
            plan.at(format!("layer {layer}"));
            let h = decoder.norm(plan, OPERATOR_NORM, layer, x);
            let y = match *operator {
                Operator::Convolution => {
                    let weights = self.conv_weights(plan, layer);
                    short_conv(plan, h, &weights, layer)
                }
                Operator::Attention(shape) => self.attention(plan, h, shape, layer, context_length),
            };
            x = self.add_normed(plan, x, y, self.features.post_norm, layer);
            let h = decoder.norm(plan, FEED_FORWARD_NORM, layer, x);
            let weights = decoder.feed_forward_weights(plan, layer);
            let y = gated_feed_forward(plan, h, &weights, ActivationFunction::Silu);
            let norm = self.features.post_norm.map(|_| POST_FEED_FORWARD_NORM);
            x = self.add_normed(plan, x, y, norm, layer);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        self.decoder.head(plan, x)
    }
}
