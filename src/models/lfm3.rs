//! LFM3: LFM2's layers with wider convolutions, norms after operator and feed-forward layer, a gate
//! for each attention head, and windows with rotary positions of their own.
//!
//! Reference: `Lfm3ForCausalLM` in Hugging Face transformers, except for full attention with
//! `rope_type` `default` and a `partial_rotary_factor`, as the released checkpoints state it: their
//! positions are proportional, and transformers ignores the factor.

use super::architecture::Architecture;
use super::config::{ConfigSource, names};
use super::decoder::{Names, head_dim, read_attention};
use super::lfm2::{self, Features, FullRotary, Lfm, Operator};
use super::proportional_rotary::ProportionalRotary;
use super::rotary::Rotary;
use crate::error::Result;
use crate::kernels::AttentionShape;

names! {
    Q_NORM: "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight";
    K_NORM: "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight";
    ATTENTION_OUTPUT: "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight";
    ATTENTION_GATE: "blk.{}.attn_gate.weight", "model.layers.{}.self_attn.gate_proj.weight";
    POST_NORM: "blk.{}.post_attention_norm.weight", "model.layers.{}.post_operator_norm.weight";
    OUTPUT_NORM: "output_norm.weight", "model.embedding_norm.weight";
}

/// Elements of a head without a field.
const HEAD_DIM: u32 = 128;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    if source.flag("attention_bias")? == Some(true) {
        return Err(source.unsupported("attention_bias", true, "false"));
    }
    let head_dim = head_dim(source, Some(HEAD_DIM))?;
    let operators = operators(source)?;
    let first_attention = operators
        .iter()
        .position(|operator| matches!(operator, Operator::Attention(_)))
        .unwrap_or_default() as u32;
    let (has_gates, has_post_norms) = if source.is_gguf() {
        (
            source.has_tensor(&ATTENTION_GATE.of(true, first_attention)),
            source.has_tensor(&POST_NORM.of(true, 0)),
        )
    } else {
        (
            source.flag("use_attention_gate")?.unwrap_or(true),
            source.flag("use_sandwich_norm")?.unwrap_or(true),
        )
    };
    let (full, local) = ("rope_parameters.full_attention", "rope_parameters.sliding_attention");
    let full = ProportionalRotary::read(source, head_dim, full, 1_000_000.0, 0.5)?;
    source.check_choice("", &format!("{local}.rope_type"), &["default"])?;
    let theta = source.number("rope.freq_base_swa", &format!("{local}.rope_theta"))?;
    let features = Features {
        names: Names {
            q_norm: Q_NORM,
            k_norm: K_NORM,
            attention_output: ATTENTION_OUTPUT,
            output_norm: OUTPUT_NORM,
            ..lfm2::NAMES
        },
        operators,
        intermediate: source.required_width("feed_forward_length", "intermediate_size")?,
        rotary: FullRotary::Proportional(full),
        local_rotary: Some(Rotary::plain(source, head_dim, theta.unwrap_or(10_000.0))?),
        gate: has_gates.then_some(ATTENTION_GATE),
        post_norm: has_post_norms.then_some(POST_NORM),
    };
    Ok(Box::new(Lfm::read(source, features, 7)?))
}

/// Reads the operator of each layer.
fn operators(source: &ConfigSource<'_>) -> Result<Vec<Operator>> {
    let layer_count = source.layer_count()?;
    let found = source.count("attention.sliding_window", "sliding_window")?;
    let window = if source.is_gguf() { found.unwrap_or(0) } else { found.unwrap_or(256) };
    let local = |shape: AttentionShape| match window {
        0 => {
            let field = source.field("attention.sliding_window", "sliding_window");
            Err(source.malformed(&field, 0, "at least 1"))
        }
        window => Ok(Operator::Attention(AttentionShape { window: Some(window), ..shape })),
    };
    if source.is_gguf() {
        let counts = source.layer_counts("attention.head_count_kv", "", layer_count)?;
        let key = "attention.sliding_window_pattern";
        let are_local = source.layer_flags(key, layer_count)?.ok_or_else(|| {
            let expected = format!("{layer_count} booleans, one for each layer");
            source.malformed(&source.field(key, ""), "no such array", &expected)
        })?;
        let operators = counts.into_iter().zip(are_local).map(|(count, is_local)| match count {
            0 => Ok(Operator::Convolution),
            count => {
                let shape = read_attention(source, count, Some(HEAD_DIM))?;
                if is_local { local(shape) } else { Ok(Operator::Attention(shape)) }
            }
        });
        return operators.collect();
    }
    let kv_head_count = source.count("", "num_key_value_heads")?.unwrap_or(4);
    let shape = read_attention(source, kv_head_count, Some(HEAD_DIM))?;
    let default = |layer: u32| match layer % 4 {
        2 => "full_attention",
        0 if layer > 0 => "sliding_attention",
        _ => "conv",
    };
    let kinds = source.layer_kinds("layer_types", layer_count)?;
    let kinds = kinds.unwrap_or_else(|| (0..layer_count).map(default).collect());
    let operators = kinds.into_iter().map(|kind| match kind {
        "conv" => Ok(Operator::Convolution),
        "full_attention" => Ok(Operator::Attention(shape)),
        "sliding_attention" => local(shape),
        other => {
            let known = "conv, full_attention or sliding_attention";
            Err(source.unsupported("layer_types", other, known))
        }
    });
    operators.collect()
}
