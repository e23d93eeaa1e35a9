//! The Llama family: Llama 2 and 3.x, SmolLM2, Minitron Width and Depth, Nemotron Nano 4B v1.1,
//! MiniCPM5.
//!
//! Reference: Touvron et al. 2023 and Grattafiori et al. 2024; where the papers are silent,
//! `LlamaForCausalLM` in Hugging Face transformers.

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, names};
use super::decoder::{Decoder, optional_biases};
use super::rotary::Rotary;
use crate::error::Result;
use crate::kernels::{Activation, AttentionShape, Pairing};
use crate::layers::attention;
use crate::plan::PlanBuilder;

names! {
    ATTENTION_NORM: "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight";
    FEED_FORWARD_NORM: "blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight";
}

/// A decoder of Llama's layers: pre-norm attention, pre-norm gated feed-forward.
pub(super) struct Llama {
    pub(super) decoder: Decoder,
    pub(super) rotary: Rotary,
    /// Layers whose queries and keys are not rotated.
    pub(super) without_rotation: Vec<u32>,
    /// Sliding window of all layers, in tokens.
    pub(super) window: Option<u32>,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let mut model = Llama::read(source)?;
    model.decoder.biases = optional_biases(source)?;
    model.permute_in_gguf(source);
    Ok(Box::new(model))
}

impl Llama {
    /// Reads the configuration of a model without biases, windows and unrotated layers.
    pub(super) fn read(source: &ConfigSource<'_>) -> Result<Self> {
        Self::read_with(source, false, 10_000.0)
    }

    /// [`Llama::read`] with the family's defaults of `tie_word_embeddings` and `rope_theta`.
    pub(super) fn read_with(source: &ConfigSource<'_>, tied: bool, theta: f64) -> Result<Self> {
        source.check_choice("activation_function", "hidden_act", &["silu"])?;
        let decoder = Decoder::read(source, tied)?;
        let rotary = Rotary::read(source, decoder.attention.head_dim, "rope_parameters", theta)?;
        Ok(Self { decoder, rotary, without_rotation: Vec::new(), window: None })
    }

    /// Pairs elements as GGUF files have them whose converter permuted the rows of queries and
    /// keys. llama.cpp does so for some architectures (`llama_model_rope_type`).
    pub(super) fn permute_in_gguf(&mut self, source: &ConfigSource<'_>) {
        if source.is_gguf() {
            self.rotary.pairing = Pairing::Adjacent;
        }
    }
}

impl Architecture for Llama {
    fn shape(&self) -> Shape {
        self.decoder.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        let Self { decoder, rotary, window, .. } = self;
        let mut x = decoder.embed(plan);
        let positions = rotary.positions(plan, context_length);
        let shape = AttentionShape { window: *window, ..decoder.attention };
        for layer in 0..decoder.shape.layer_count {
            plan.at(format!("layer {layer}"));
            let h = decoder.norm(plan, ATTENTION_NORM, layer, x);
            let weights = decoder.attention_weights(plan, layer);
            let positions = (!self.without_rotation.contains(&layer)).then_some(positions);
            let y = attention(plan, h, &weights, shape, positions, layer, context_length);
            x = decoder.add(plan, x, y);
            x = decoder.feed_forward(plan, FEED_FORWARD_NORM, layer, x);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        self.decoder.head(plan, x)
    }
}
