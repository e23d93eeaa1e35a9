//! Granite 4 without experts: Granite 4 H (350M, 1B, Micro), and its models of attention alone.
//!
//! Each layer is a Mamba-2 mixer or attention, mostly without positions, then a gated feed-forward
//! layer. Reference: IBM 2025 (Granite 4.0); where the report is silent,
//! `GraniteMoeHybridForCausalLM` in Hugging Face transformers.

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, names};
use super::decoder::{Decoder, Names, head_dim, read_attention};
use super::granite::{multipliers, scale_attention};
use super::mamba::{self, MambaFields};
use super::rotary::Rotary;
use crate::error::Result;
use crate::kernels::{Activation, AttentionShape, Pairing};
use crate::layers::{MambaConfig, attention, mamba_mixer};
use crate::plan::PlanBuilder;

names! {
    NORM: "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight";
    FEED_FORWARD_NORM: "blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight";
    GATE: "blk.{}.ffn_gate.weight", "model.layers.{}.shared_mlp.gate_proj.weight";
    UP: "blk.{}.ffn_up.weight", "model.layers.{}.shared_mlp.up_proj.weight";
    DOWN: "blk.{}.ffn_down.weight", "model.layers.{}.shared_mlp.output_linear.weight";
}

/// First part of a layer.
#[derive(Debug, Clone, Copy)]
enum Mixer {
    Mamba(MambaConfig),
    Attention(AttentionShape),
}

struct GraniteHybrid {
    decoder: Decoder,
    mixers: Vec<Mixer>,
    /// Rotary positions of attention, if there are any.
    rotary: Option<Rotary>,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    check_supported(source)?;
    let intermediate = source.required_width("feed_forward_length", "shared_intermediate_size")?;
    let mut decoder = Decoder::without_attention(source, intermediate, false)?;
    decoder.names = Names { gate: GATE, up: UP, down: DOWN, ..Names::USUAL };
    decoder.multipliers = multipliers(source)?;
    if !source.is_gguf() && !source.has("rms_norm_eps") {
        decoder.epsilon = 1e-6;
    }
    Ok(Box::new(GraniteHybrid {
        mixers: mixers(source, decoder.hidden, decoder.epsilon)?,
        rotary: read_rotary(source)?,
        decoder,
    }))
}

/// Rejects experts, biases and other options that the family's dense models do not use.
fn check_supported(source: &ConfigSource<'_>) -> Result<()> {
    let (gguf, hugging_face) = ("expert_count", "num_local_experts");
    let experts = source.count(gguf, hugging_face)?;
    let default = if source.is_gguf() { 0 } else { 8 };
    let experts = experts.unwrap_or(default);
    if experts > 0 {
        return Err(source.unsupported(&source.field(gguf, hugging_face), experts, "0"));
    }
    for flag in ["attention_bias", "mamba_proj_bias"] {
        if source.flag(flag)? == Some(true) {
            return Err(source.unsupported(flag, true, "false"));
        }
    }
    if source.flag("mamba_conv_bias")? == Some(false) {
        return Err(source.unsupported("mamba_conv_bias", false, "true"));
    }
    source.check_choice("activation_function", "hidden_act", &["silu"])?;
    mamba::check_step_limit(source, "time_step_limit")
}

/// Reads the positions of attention, which most models do not have.
fn read_rotary(source: &ConfigSource<'_>) -> Result<Option<Rotary>> {
    let known = ["rope", "nope"];
    source.check_choice("", "position_embedding_type", &known)?;
    let has_positions = if source.is_gguf() {
        source.gguf_flag("rope.scaling.finetuned")?.unwrap_or(true)
    } else {
        source.text("", "position_embedding_type")? == Some("rope")
    };
    if !has_positions {
        return Ok(None);
    }
    let mut rotary = Rotary::read(source, head_dim(source, None)?, "rope_parameters", 10_000.0)?;
    if source.is_gguf() {
        // llama.cpp's converter permutes the rows of queries and keys.
        rotary.pairing = Pairing::Adjacent;
    }
    Ok(Some(rotary))
}

/// Reads the first part of each layer: in GGUF, a mixer has no KV heads.
fn mixers(source: &ConfigSource<'_>, hidden: u32, epsilon: f32) -> Result<Vec<Mixer>> {
    let layer_count = source.layer_count()?;
    let kv_head_counts = if source.is_gguf() {
        source.layer_counts("attention.head_count_kv", "", layer_count)?
    } else {
        kv_head_counts_of_config(source, layer_count)?
    };
    let mixers = kv_head_counts.into_iter().map(|kv_head_count| match kv_head_count {
        0 => Ok(Mixer::Mamba(mamba::read(source, &MambaFields::USUAL, hidden, epsilon)?)),
        count => {
            let mut shape = read_attention(source, count, None)?;
            scale_attention(source, &mut shape)?;
            Ok(Mixer::Attention(shape))
        }
    });
    mixers.collect()
}

/// KV heads of each layer, 0 for a mixer, from the types of layers in `config.json`.
fn kv_head_counts_of_config(source: &ConfigSource<'_>, layer_count: u32) -> Result<Vec<u32>> {
    let heads = source.spelling(&["num_key_value_heads", "num_attention_heads"]);
    let kv_head_count = source.required_count("", heads)?;
    let field = source.spelling(&["layer_types", "layers_block_type"]);
    let Some(kinds) = source.layer_kinds(field, layer_count)? else {
        return Ok(vec![0; layer_count as usize]);
    };
    let counts = kinds.into_iter().map(|kind| match kind {
        "mamba" | "linear_attention" => Ok(0),
        "attention" | "full_attention" => Ok(kv_head_count),
        other => Err(source.unsupported(field, other, "layers of mamba or attention")),
    });
    counts.collect()
}

impl Architecture for GraniteHybrid {
    fn shape(&self) -> Shape {
        self.decoder.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        let decoder = &self.decoder;
        let mut x = decoder.embed(plan);
        for (layer, mixer) in (0..).zip(&self.mixers) {
            plan.at(format!("layer {layer}"));
            let h = decoder.norm(plan, NORM, layer, x);
            let y = match mixer {
                Mixer::Mamba(config) => {
                    let prefix = "model.layers.{}.mamba.";
                    let tensors = mamba::tensors(decoder.is_gguf, prefix, layer);
                    let weights = config.weights(plan, &tensors);
                    mamba_mixer(plan, h, &weights, config, layer)
                }
                Mixer::Attention(shape) => {
                    let weights = decoder.attention_weights_of(plan, *shape, layer);
                    let rotary = self.rotary.as_ref();
                    let positions = rotary.map(|rotary| rotary.positions(plan, context_length));
                    attention(plan, h, &weights, *shape, positions, layer, context_length)
                }
            };
            x = decoder.add(plan, x, y);
            x = decoder.feed_forward(plan, FEED_FORWARD_NORM, layer, x);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        self.decoder.head(plan, x)
    }
}
