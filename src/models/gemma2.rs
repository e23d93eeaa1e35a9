//! Gemma 2: norms before and after attention and feed-forward, soft-capped attention scores and
//! logits, a sliding window in every other layer.
//!
//! Reference: Gemma Team 2024; where the paper is silent, `Gemma2ForCausalLM` in Hugging Face
//! transformers. Gemma 3 has the same layers.

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, names};
use super::decoder::{Decoder, optional_biases};
use super::rotary::Rotary;
use super::windows;
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction, AttentionShape};
use crate::layers::{attention, gated_feed_forward};
use crate::plan::{PlanBuilder, Transform};

names! {
    ATTENTION_NORM: "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight";
    POST_ATTENTION_NORM: "blk.{}.post_attention_norm.weight",
        "model.layers.{}.post_attention_layernorm.weight";
    FEED_FORWARD_NORM: "blk.{}.ffn_norm.weight", "model.layers.{}.pre_feedforward_layernorm.weight";
    POST_FEED_FORWARD_NORM: "blk.{}.post_ffw_norm.weight",
        "model.layers.{}.post_feedforward_layernorm.weight";
}

/// Layer count of the 27B model, see [`Gemma::read`].
const LAYERS_27B: u32 = 46;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let local = "rope_parameters.sliding_attention";
    if source.has(local) {
        let found = "separate rotary positions for layers with a sliding window";
        return Err(source.unsupported(local, found, "the same positions in all layers"));
    }
    check_causal(source)?;
    let mut model = Gemma::read(source, LAYERS_27B, "rope_parameters", 10_000.0)?;
    // GGUF files of early converters lack the caps, which all Gemma 2 models share.
    let (scores, logits) = if source.is_gguf() { (Some(50.0), Some(30.0)) } else { (None, None) };
    model.decoder.attention.softcap = model.decoder.attention.softcap.or(scores);
    model.logit_cap = model.logit_cap.or(logits);
    model.windows = windows::read(source, model.decoder.shape.layer_count, 2, Some(4096))?;
    Ok(Box::new(model))
}

/// Refuses bidirectional attention, which only encoders have.
pub(super) fn check_causal(source: &ConfigSource<'_>) -> Result<()> {
    match source.flag("use_bidirectional_attention")? {
        Some(true) => Err(source.unsupported("use_bidirectional_attention", true, "false")),
        _ => Ok(()),
    }
}

/// A decoder of Gemma's layers.
pub(super) struct Gemma {
    pub(super) decoder: Decoder,
    /// Positions in layers with full attention.
    rotary: Rotary,
    /// Positions in layers with a sliding window, if different.
    pub(super) local_rotary: Option<Rotary>,
    /// Sliding window of each layer, in tokens; `None` for full attention.
    pub(super) windows: Vec<Option<u32>>,
    /// Soft cap of the logits.
    logit_cap: Option<f32>,
}

impl Gemma {
    /// Reads the configuration except for the windows; `rotary` and `theta` as for
    /// [`Rotary::read`]. GGUF does not state the scale of attention scores: it is
    /// `head_dim^(-1/2)`, or `(hidden / head_count)^(-1/2)` in the 27B model, which has
    /// `layers_27b` layers.
    pub(super) fn read(
        source: &ConfigSource<'_>,
        layers_27b: u32,
        rotary: &str,
        theta: f64,
    ) -> Result<Self> {
        source.check_choice("activation_function", "hidden_activation", &["gelu_pytorch_tanh"])?;
        let mut decoder = Decoder::read(source, true)?;
        decoder.biases = optional_biases(source)?;
        if !source.is_gguf() {
            // Norm weights are stored minus one; llama.cpp's converter adds the one back.
            decoder.norm_transform = Transform::PlusOne;
        }
        let AttentionShape { head_count, head_dim, .. } = decoder.attention;
        let scalar = if !source.is_gguf() {
            source.required_count("", "query_pre_attn_scalar")?
        } else if decoder.shape.layer_count == layers_27b {
            let share = decoder.hidden / head_count;
            source.check_width("embedding_length / attention.head_count", share.into())?
        } else {
            head_dim
        };
        decoder.attention.scale = f64::from(scalar).sqrt().recip() as f32;
        decoder.multipliers.embedding = f64::from(decoder.hidden).sqrt() as f32;
        decoder.attention.softcap = cap(source, "attn_logit_softcapping")?;
        Ok(Self {
            rotary: Rotary::read(source, head_dim, rotary, theta)?,
            local_rotary: None,
            windows: vec![None; decoder.shape.layer_count as usize],
            logit_cap: cap(source, "final_logit_softcapping")?,
            decoder,
        })
    }

    fn attention(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        h: Activation,
        layer: u32,
        context_length: u32,
    ) -> Activation {
        let decoder = &self.decoder;
        let weights = decoder.attention_weights(plan, layer);
        let window = self.windows[layer as usize];
        let local = self.local_rotary.as_ref().filter(|_| window.is_some());
        let positions = local.unwrap_or(&self.rotary).positions(plan, context_length);
        let shape = AttentionShape { window, ..decoder.attention };
        attention(plan, h, &weights, shape, Some(positions), layer, context_length)
    }
}

impl Architecture for Gemma {
    fn shape(&self) -> Shape {
        self.decoder.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        let decoder = &self.decoder;
        let mut x = decoder.embed(plan);
        for layer in 0..decoder.shape.layer_count {
            plan.at(format!("layer {layer}"));
            let h = decoder.norm(plan, ATTENTION_NORM, layer, x);
            let y = self.attention(plan, h, layer, context_length);
            let y = decoder.norm(plan, POST_ATTENTION_NORM, layer, y);
            x = plan.add(x, y);
            let h = decoder.norm(plan, FEED_FORWARD_NORM, layer, x);
            let weights = decoder.feed_forward_weights(plan, layer);
            let y = gated_feed_forward(plan, h, &weights, ActivationFunction::Gelu);
            let y = decoder.norm(plan, POST_FEED_FORWARD_NORM, layer, y);
            x = plan.add(x, y);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        let logits = self.decoder.head(plan, x);
        self.logit_cap
            .map_or(logits, |cap| plan.elementwise(logits, ActivationFunction::Softcap(cap)))
    }
}

/// Reads a soft cap; absent or zero means none.
fn cap(source: &ConfigSource<'_>, field: &str) -> Result<Option<f32>> {
    match source.number(field, field)? {
        None => Ok(None),
        Some(0.0) => Ok(None),
        Some(cap) if (cap as f32) < f32::MIN_POSITIVE => {
            Err(source.malformed(field, cap, "a positive number"))
        }
        Some(cap) => Ok(Some(cap as f32)),
    }
}
