//! OLMo 2 and 3: norms after attention and feed-forward instead of before, and norms of all query
//! heads and of all key heads of a row. OLMo 3 has a sliding window in three of four layers, and
//! scales the rotary positions of the others.
//!
//! Reference: Team OLMo 2024 and 2025; where the reports are silent, `Olmo2ForCausalLM` and
//! `Olmo3ForCausalLM` in Hugging Face transformers.

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, names};
use super::decoder::{Decoder, NormExtent, optional_biases};
use super::rotary::Rotary;
use super::windows;
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction, AttentionShape};
use crate::layers::{attention, gated_feed_forward};
use crate::plan::PlanBuilder;

names! {
    POST_ATTENTION_NORM: "blk.{}.post_attention_norm.weight",
        "model.layers.{}.post_attention_layernorm.weight";
    POST_FEED_FORWARD_NORM: "blk.{}.post_ffw_norm.weight",
        "model.layers.{}.post_feedforward_layernorm.weight";
}

/// Every so many layers one has full attention, unless the configuration lists the layers.
pub(super) const PERIOD: u32 = 4;

/// A decoder of OLMo's layers.
pub(super) struct Olmo {
    pub(super) decoder: Decoder,
    /// Positions in layers with full attention; `None` if they do not rotate queries and keys.
    pub(super) rotary: Option<Rotary>,
    /// Positions in layers with a sliding window.
    pub(super) local_rotary: Rotary,
    /// Sliding window of each layer, in tokens; `None` for full attention.
    pub(super) windows: Vec<Option<u32>>,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    source.check_choice("activation_function", "hidden_act", &["silu"])?;
    let mut decoder = Decoder::read(source, false)?;
    decoder.biases = optional_biases(source)?;
    decoder.query_key_norms = Some(NormExtent::Row);
    let head_dim = decoder.attention.head_dim;
    let rotary = Rotary::read(source, head_dim, "rope_parameters", 10_000.0)?;
    Ok(Box::new(Olmo {
        local_rotary: local_rotary(source, &rotary)?,
        windows: windows::read(source, decoder.shape.layer_count, PERIOD, None)?,
        rotary: Some(rotary),
        decoder,
    }))
}

/// Reads the positions in layers with a sliding window, which are never scaled.
fn local_rotary(source: &ConfigSource<'_>, rotary: &Rotary) -> Result<Rotary> {
    let group = "rope_parameters.sliding_attention";
    let kinds = ["default", "none"];
    if !source.is_gguf() {
        source.check_choice("", &format!("{group}.rope_type"), &kinds)?;
    }
    let theta = source.number("rope.freq_base_swa", &format!("{group}.rope_theta"))?;
    rotary.unscaled(source, theta)
}

impl Architecture for Olmo {
    fn shape(&self) -> Shape {
        self.decoder.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        let decoder = &self.decoder;
        let mut x = decoder.embed(plan);
        for (layer, window) in (0..).zip(&self.windows) {
            plan.at(format!("layer {layer}"));
            let weights = decoder.attention_weights(plan, layer);
            let local = window.map(|_| &self.local_rotary);
            let rotary = local.or(self.rotary.as_ref());
            let positions = rotary.map(|rotary| rotary.positions(plan, context_length));
            let shape = AttentionShape { window: *window, ..decoder.attention };
            let y = attention(plan, x, &weights, shape, positions, layer, context_length);
            let y = decoder.norm(plan, POST_ATTENTION_NORM, layer, y);
            x = plan.add(x, y);
            let weights = decoder.feed_forward_weights(plan, layer);
            let y = gated_feed_forward(plan, x, &weights, ActivationFunction::Silu);
            let y = decoder.norm(plan, POST_FEED_FORWARD_NORM, layer, y);
            x = plan.add(x, y);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        self.decoder.head(plan, x)
    }
}
