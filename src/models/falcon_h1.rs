//! Falcon-H1: in each layer attention and a Mamba-2 mixer on the same normed input, then a gated
//! feed-forward layer; factors of the inputs and outputs of all of them.
//!
//! Reference: Technology Innovation Institute 2025 (Falcon-H1); where the report is silent,
//! `FalconH1ForCausalLM` in Hugging Face transformers. The weights of GGUF files and of MLX's
//! folders contain the factors.

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, names};
use super::decoder::{Decoder, Names, multiplied, optional_biases};
use super::mamba::{self, MambaFields};
use super::rotary::Rotary;
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction};
use crate::layers::{MambaConfig, attention, mamba_mixer};
use crate::plan::PlanBuilder;
use crate::weights::folder;

names! {
    NORM: "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight";
    FEED_FORWARD_NORM: "blk.{}.ffn_norm", "model.layers.{}.pre_ff_layernorm.weight";
    GATE: "blk.{}.ffn_gate.weight", "model.layers.{}.feed_forward.gate_proj.weight";
    UP: "blk.{}.ffn_up.weight", "model.layers.{}.feed_forward.up_proj.weight";
    DOWN: "blk.{}.ffn_down.weight", "model.layers.{}.feed_forward.down_proj.weight";
    OUTPUT_NORM: "output_norm.weight", "model.final_layernorm.weight";
}

struct FalconH1 {
    decoder: Decoder,
    rotary: Rotary,
    mamba: MambaConfig,
    /// Factor of the mixer's outputs.
    mamba_output: f32,
    /// Factor of attention's outputs, that of its values included.
    attention_output: f32,
    /// Factor of the gate of the feed-forward layer, inside its function.
    gate: f32,
    /// Factor of the feed-forward layer's outputs.
    down: f32,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    source.check_choice("activation_function", "hidden_act", &["silu"])?;
    mamba::check_step_limit(source, "time_step_limit")?;
    let mut decoder = Decoder::read(source, false)?;
    decoder.names =
        Names { gate: GATE, up: UP, down: DOWN, output_norm: OUTPUT_NORM, ..Names::USUAL };
    let has_factors = has_factors(source);
    let factor = |field: &str| match has_factors {
        true => Ok(source.factor("", field)?.unwrap_or(1.0)),
        false => Ok(1.0),
    };
    decoder.multipliers.embedding = factor("embedding_multiplier")?;
    decoder.multipliers.logits = factor("lm_head_multiplier")?;
    // Scores and outputs of attention are linear in its inputs, so that their factors have it.
    let input = factor("attention_in_multiplier")?;
    decoder.attention.scale *= input * input * factor("key_multiplier")?;
    let [gate, down] = match has_factors {
        true => factors(source, "mlp_multipliers")?,
        false => [1.0; 2],
    };
    let biases = optional_biases(source)?;
    decoder.biases.qkv = biases.qkv.map(|bias| bias / input);
    decoder.biases.attention_output = biases.attention_output.map(|bias| bias / input);
    decoder.biases.feed_forward = biases.feed_forward;
    decoder.biases.down = biases.down.map(|bias| bias * gate);
    Ok(Box::new(FalconH1 {
        rotary: Rotary::read(source, decoder.attention.head_dim, "rope_parameters", 10_000.0)?,
        mamba: read_mamba(source, &decoder, has_factors)?,
        mamba_output: factor("ssm_out_multiplier")?,
        attention_output: input * factor("attention_out_multiplier")?,
        gate,
        down: down / gate,
        decoder,
    }))
}

/// True if the configuration states factors that the weights do not contain. The convolutions of
/// MLX have other axes.
fn has_factors(source: &ConfigSource<'_>) -> bool {
    let conv = source.tensor_shape("model.layers.0.mamba.conv1d.weight");
    !source.is_gguf() && !matches!(conv, Some([_, kernel, 1]) if *kernel > 1)
}

/// Reads a list of factors, 1 if absent.
fn factors<const N: usize>(source: &ConfigSource<'_>, field: &str) -> Result<[f32; N]> {
    let Some(list) = source.list(field)? else { return Ok([1.0; N]) };
    let numbers: Option<Vec<f64>> = list.iter().map(folder::number).collect();
    let numbers = numbers.and_then(|numbers| <[f64; N]>::try_from(numbers).ok());
    let numbers = numbers.ok_or_else(|| {
        let found = serde_json::Value::from(list);
        source.malformed(field, found, &format!("{N} numbers"))
    })?;
    let mut factors = [1.0; N];
    for (factor, number) in factors.iter_mut().zip(numbers) {
        *factor = source.check_factor(field, number)?;
    }
    Ok(factors)
}

fn read_mamba(
    source: &ConfigSource<'_>,
    decoder: &Decoder,
    has_factors: bool,
) -> Result<MambaConfig> {
    let mut mamba = mamba::read(source, &MambaFields::USUAL, decoder.hidden, decoder.epsilon)?;
    let is_gguf = source.is_gguf();
    let flag = |name: &str| Ok::<_, crate::error::Error>(source.flag(name)? == Some(true));
    let mut input = 1.0;
    if has_factors {
        input = source.factor("", "ssm_in_multiplier")?.unwrap_or(1.0);
        let [z, x, b, c, dt] = factors(source, "ssm_multipliers")?.map(|factor| input * factor);
        (mamba.scan.z_scale, mamba.scan.dt_scale) = (Some(z), dt);
        mamba.conv_scales = [x, b, c];
    }
    mamba.biases =
        [flag("mamba_proj_bias")?.then_some(1.0 / input), flag("projectors_bias")?.then_some(1.0)];
    if is_gguf {
        mamba.has_norm = source.has_tensor("blk.0.ssm_norm.weight");
        mamba.has_conv_bias = source.has_tensor("blk.0.ssm_conv1d.bias");
    } else {
        mamba.has_norm = flag("mamba_rms_norm")?;
        mamba.has_conv_bias = source.flag("mamba_conv_bias")? != Some(false);
        if mamba.has_norm && source.flag("mamba_norm_before_gate")? != Some(false) {
            mamba.late_gate = mamba.scan.z_scale.take();
        }
    }
    Ok(mamba)
}

impl FalconH1 {
    /// `x + mixer(h) + attention(h)`, `h` the norm of `x`.
    fn mix(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        x: Activation,
        layer: u32,
        context_length: u32,
    ) -> Activation {
        let Self { decoder, rotary, mamba, .. } = self;
        let h = decoder.norm(plan, NORM, layer, x);
        let tensors = mamba::tensors(decoder.is_gguf, "model.layers.{}.mamba.", layer);
        let weights = mamba.weights(plan, &tensors);
        let y = mamba_mixer(plan, h, &weights, mamba, layer);
        let y = multiplied(plan, y, self.mamba_output);
        let x = plan.add(x, y);
        let (shape, weights) = (decoder.attention, decoder.attention_weights(plan, layer));
        let positions = Some(rotary.positions(plan, context_length));
        let y = attention(plan, h, &weights, shape, positions, layer, context_length);
        let y = multiplied(plan, y, self.attention_output);
        plan.add(x, y)
    }

    /// Gate and input have the same factor, so that one product can compute them; that of the
    /// outputs makes up for it.
    fn feed_forward(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        x: Activation,
        layer: u32,
    ) -> Activation {
        let h = self.decoder.norm(plan, FEED_FORWARD_NORM, layer, x);
        let weights = self.decoder.feed_forward_weights(plan, layer);
        let [gate, up] = [weights.gate, weights.up].map(|linear| {
            let y = plan.linear(linear, h);
            multiplied(plan, y, self.gate)
        });
        let y = plan.glu(gate, up, ActivationFunction::Silu);
        let y = plan.linear(weights.down, y);
        let y = multiplied(plan, y, self.down);
        plan.add(x, y)
    }
}

impl Architecture for FalconH1 {
    fn shape(&self) -> Shape {
        self.decoder.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        let mut x = self.decoder.embed(plan);
        for layer in 0..self.decoder.shape.layer_count {
            plan.at(format!("layer {layer}"));
            x = self.mix(plan, x, layer, context_length);
            x = self.feed_forward(plan, x, layer);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        self.decoder.head(plan, x)
    }
}
