//! The Llama family: Llama 2 and 3.x, SmolLM2, Minitron Width and Depth, Nemotron Nano 4B v1.1.
//!
//! Reference: Touvron et al. 2023 and Grattafiori et al. 2024; where the papers are silent,
//! `LlamaForCausalLM` in Hugging Face transformers.

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, names};
use super::decoder::{Decoder, optional_biases};
use super::rotary::Rotary;
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction, Pairing};
use crate::layers::{attention, gated_feed_forward};
use crate::plan::PlanBuilder;

names! {
    ATTENTION_NORM: "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight";
    FEED_FORWARD_NORM: "blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight";
}

/// A decoder of Llama's layers: pre-norm attention, pre-norm gated feed-forward.
pub(super) struct Llama {
    pub(super) decoder: Decoder,
    pub(super) rotary: Rotary,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let mut model = Llama::read(source)?;
    model.decoder.biases = optional_biases(source)?;
    if source.is_gguf() {
        // llama.cpp's converter permutes the rows of queries and keys, for this architecture only.
        model.rotary.pairing = Pairing::Adjacent;
    }
    Ok(Box::new(model))
}

impl Llama {
    /// Reads the configuration of a model without biases.
    pub(super) fn read(source: &ConfigSource<'_>) -> Result<Self> {
        source.check_choice("activation_function", "hidden_act", &["silu"])?;
        let decoder = Decoder::read(source, false)?;
        let rotary = Rotary::read(source, decoder.attention.head_dim, "rope_parameters", 10_000.0)?;
        Ok(Self { decoder, rotary })
    }
}

impl Architecture for Llama {
    fn shape(&self) -> Shape {
        self.decoder.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        let Self { decoder, rotary } = self;
        let mut x = decoder.embed(plan);
        let positions = Some(rotary.positions(plan, context_length));
        for layer in 0..decoder.shape.layer_count {
            plan.at(format!("layer {layer}"));
            let h = decoder.norm(plan, ATTENTION_NORM, layer, x);
            let weights = decoder.attention_weights(plan, layer);
            let y =
                attention(plan, h, &weights, decoder.attention, positions, layer, context_length);
            x = plan.add(x, y);
            let h = decoder.norm(plan, FEED_FORWARD_NORM, layer, x);
            let weights = decoder.feed_forward_weights(plan, layer);
            let y = gated_feed_forward(plan, h, &weights, ActivationFunction::Silu);
            x = plan.add(x, y);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        self.decoder.head(plan, x)
    }
}
