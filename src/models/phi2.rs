//! Phi-1.5 and Phi-2: attention and feed-forward in parallel on one layer norm, with biases in all
//! linear layers.
//!
//! Reference: Li et al. 2023; where the report is silent, `PhiForCausalLM` in Hugging Face
//! transformers.

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, names};
use super::decoder::{Biases, Decoder};
use super::rotary::Rotary;
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction};
use crate::layers::{attention, feed_forward};
use crate::plan::PlanBuilder;

names! {
    NORM: "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight";
    ATTENTION_OUTPUT: "blk.{}.attn_output.weight", "model.layers.{}.self_attn.dense.weight";
    UP: "blk.{}.ffn_up.weight", "model.layers.{}.mlp.fc1.weight";
    DOWN: "blk.{}.ffn_down.weight", "model.layers.{}.mlp.fc2.weight";
    OUTPUT_NORM: "output_norm.weight", "model.final_layernorm.weight";
    OUTPUT: "output.weight", "lm_head.weight";
}

struct Phi {
    decoder: Decoder,
    rotary: Rotary,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    source.check_choice("activation_function", "hidden_act", &["gelu_new", "gelu_pytorch_tanh"])?;
    if source.flag("qk_layernorm")? == Some(true) {
        return Err(source.unsupported("qk_layernorm", true, "false"));
    }
    let mut decoder = Decoder::read(source, false)?;
    decoder.epsilon = source.epsilon("attention.layer_norm_epsilon", "layer_norm_eps")?;
    decoder.biases = Biases { qkv: Some(1.0), attention_output: Some(1.0), ..Biases::default() };
    decoder.names.attention_output = ATTENTION_OUTPUT;
    let rotary = Rotary::read(source, decoder.attention.head_dim, "rope_parameters", 10_000.0)?;
    Ok(Box::new(Phi { decoder, rotary }))
}

impl Architecture for Phi {
    fn shape(&self) -> Shape {
        self.decoder.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        let Self { decoder, rotary } = self;
        let Decoder { hidden, intermediate, attention: shape, .. } = *decoder;
        let mut x = decoder.embed(plan);
        let positions = Some(rotary.positions(plan, context_length));
        for layer in 0..decoder.shape.layer_count {
            plan.at(format!("layer {layer}"));
            let h = decoder.layer_norm(plan, NORM, layer, x);
            let weights = decoder.attention_weights(plan, layer);
            let y = attention(plan, h, &weights, shape, positions, layer, context_length);
            x = plan.add(x, y);
            let up = decoder.linear(plan, UP, layer, [intermediate, hidden], Some(1.0));
            let down = decoder.linear(plan, DOWN, layer, [hidden, intermediate], Some(1.0));
            let y = feed_forward(plan, h, up, down, ActivationFunction::Gelu);
            x = plan.add(x, y);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        plan.at("head");
        let h = self.decoder.layer_norm(plan, OUTPUT_NORM, 0, x);
        let Decoder { shape, hidden, .. } = self.decoder;
        let output =
            self.decoder.linear(plan, OUTPUT, 0, [shape.vocabulary_size, hidden], Some(1.0));
        plan.linear(output, h)
    }
}
