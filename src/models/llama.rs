//! The Llama family: Llama 2 and 3.x, SmolLM2, Minitron Width and Depth.
//!
//! Reference: Touvron et al. 2023 and Grattafiori et al. 2024; the implementation in Hugging
//! Face transformers (`LlamaForCausalLM`) decides where the papers are silent.

use super::{Architecture, ConfigSource, Names, Shape};
use crate::error::Result;
use crate::kernels::{Activation, Attention, Buffer, Pairing, RotaryTable};
use crate::layers::{AttentionWeights, GatedWeights, RotaryPositions, attention, gated_feed_forward};
use crate::plan::{AttentionShape, Matrix, PlanBuilder};

/// Names of a layer's tensors.
macro_rules! names {
    ($($name:ident: $gguf:literal, $hugging_face:literal;)+) => {
        $(const $name: Names = Names { gguf: $gguf, hugging_face: $hugging_face };)+
    };
}

names! {
    EMBEDDING: "token_embd.weight", "model.embed_tokens.weight";
    ATTENTION_NORM: "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight";
    Q: "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight";
    K: "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight";
    V: "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight";
    ATTENTION_OUTPUT: "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight";
    FEED_FORWARD_NORM: "blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight";
    GATE: "blk.{}.ffn_gate.weight", "model.layers.{}.mlp.gate_proj.weight";
    UP: "blk.{}.ffn_up.weight", "model.layers.{}.mlp.up_proj.weight";
    DOWN: "blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight";
    OUTPUT_NORM: "output_norm.weight", "model.norm.weight";
    OUTPUT: "output.weight", "lm_head.weight";
}

/// GGUF's divisors of the rotary frequencies, where the model scales them.
const ROTARY_DIVISORS: &str = "rope_freqs.weight";

/// The `llama3` scaling of rotary frequencies (Hugging Face `modeling_rope_utils`).
#[derive(Debug, Clone, Copy)]
struct Llama3Scaling {
    factor: f64,
    low: f64,
    high: f64,
    original_context: f64,
}

/// How the rotary frequencies differ from `theta^(-2i / rotary_dim)`.
#[derive(Debug, Clone, Copy)]
enum RotaryScaling {
    None,
    /// All frequencies divided by a factor (Chen et al. 2023).
    Linear(f64),
    Llama3(Llama3Scaling),
}

struct Llama {
    is_gguf: bool,
    shape: Shape,
    hidden: u32,
    intermediate: u32,
    attention: AttentionShape,
    rotary_dim: u32,
    theta: f64,
    scaling: RotaryScaling,
    epsilon: f32,
    /// The embedding matrix is the output matrix too.
    tied: bool,
    /// GGUF gives the scaling as a tensor of divisors.
    divisors: bool,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let hidden = source.required_count("embedding_length", "hidden_size")?;
    let head_count = source.required_count("attention.head_count", "num_attention_heads")?;
    let kv_head_count = source.count("attention.head_count_kv", "num_key_value_heads")?.unwrap_or(head_count);
    let head_dim = match source.count("attention.key_length", "head_dim")? {
        Some(head_dim) => head_dim,
        None => hidden / head_count,
    };
    check_heads(source, head_count, kv_head_count, head_dim)?;
    let rotary_dim = source.count("rope.dimension_count", "rotary_dim")?.unwrap_or(head_dim);
    if rotary_dim == 0 || rotary_dim > head_dim || !rotary_dim.is_multiple_of(2) {
        let expected = format!("an even number up to {head_dim}");
        return Err(source.malformed("rope.dimension_count", rotary_dim, &expected));
    }
    for flag in ["attention_bias", "mlp_bias"] {
        if source.flag(flag)? == Some(true) {
            return Err(source.unsupported(flag, true, "false"));
        }
    }
    let activation = source.text("activation_function", "hidden_act")?.unwrap_or("silu");
    if activation != "silu" {
        return Err(source.unsupported("hidden_act", activation, "silu"));
    }
    let epsilon = source.number("attention.layer_norm_rms_epsilon", "rms_norm_eps")?.unwrap_or(1e-5);
    let max_context_length = source.required_count("context_length", "max_position_embeddings")?;
    let theta = match source.number("rope.freq_base", "rope_theta")? {
        Some(theta) => Some(theta),
        None => source.number("rope.freq_base", "rope_parameters.rope_theta")?,
    };
    let theta = theta.unwrap_or(10000.0);
    if theta <= 1.0 {
        return Err(source.malformed("rope_theta", theta, "more than 1"));
    }
    let may_be_tied = source.is_gguf() || source.flag("tie_word_embeddings")? == Some(true);
    let head_dim_scale = 1.0 / f64::from(head_dim).sqrt();
    Ok(Box::new(Llama {
        is_gguf: source.is_gguf(),
        shape: Shape {
            vocabulary_size: vocabulary_size(source)?,
            max_context_length,
            layer_count: source.layer_count()?,
        },
        hidden,
        intermediate: source.required_count("feed_forward_length", "intermediate_size")?,
        attention: AttentionShape { head_count, kv_head_count, head_dim, scale: head_dim_scale as f32 },
        rotary_dim,
        theta,
        scaling: read_scaling(source)?,
        epsilon: epsilon as f32,
        tied: !source.has_tensor(&OUTPUT.of(source.is_gguf(), 0)) && may_be_tied,
        divisors: has_divisors(source, rotary_dim)?,
    }))
}

fn check_heads(source: &ConfigSource<'_>, heads: u32, kv_heads: u32, head_dim: u32) -> Result<()> {
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        let expected = format!("a divisor of the {heads} query heads");
        return Err(source.malformed("key/value head count", kv_heads, &expected));
    }
    if head_dim == 0 || !head_dim.is_multiple_of(4) || head_dim > Attention::MAX_HEAD_DIM {
        let expected = format!("a multiple of 4 up to {}", Attention::MAX_HEAD_DIM);
        return Err(source.unsupported("head_dim", head_dim, &expected));
    }
    let width = u64::from(heads) * u64::from(head_dim);
    if width > 1 << 24 {
        return Err(source.malformed("attention heads", width, "at most 2^24 elements in a row"));
    }
    Ok(())
}

/// GGUF states the vocabulary by its token list, if not by a key.
fn vocabulary_size(source: &ConfigSource<'_>) -> Result<u32> {
    if let Some(count) = source.count("vocab_size", "vocab_size")? {
        return Ok(count);
    }
    match source.list_length("tokenizer.ggml.tokens")? {
        Some(count) => Ok(count as u32),
        None => source.required_count("vocab_size", "vocab_size"),
    }
}

fn read_scaling(source: &ConfigSource<'_>) -> Result<RotaryScaling> {
    // transformers 5 writes `rope_parameters`, earlier versions `rope_scaling`.
    let group = if source.has("rope_scaling") { "rope_scaling" } else { "rope_parameters" };
    let field = |name: &str| format!("{group}.{name}");
    let kind = match source.text("rope.scaling.type", &field("rope_type"))? {
        Some(kind) => kind,
        None => source.text("rope.scaling.type", &field("type"))?.unwrap_or("none"),
    };
    let number = |gguf: &str, name: &str| {
        let found = source.number(gguf, &field(name))?;
        match found.filter(|number| *number > 0.0) {
            Some(number) => Ok(number),
            None => Err(source.malformed(&field(name), format!("{found:?}"), "a positive number")),
        }
    };
    match kind {
        "none" | "default" => Ok(RotaryScaling::None),
        "linear" => Ok(RotaryScaling::Linear(number("rope.scaling.factor", "factor")?)),
        "llama3" => {
            let scaling = Llama3Scaling {
                factor: number("rope.scaling.factor", "factor")?,
                low: number("rope.scaling.low_freq_factor", "low_freq_factor")?,
                high: number("rope.scaling.high_freq_factor", "high_freq_factor")?,
                original_context: number(
                    "rope.scaling.original_context_length",
                    "original_max_position_embeddings",
                )?,
            };
            if scaling.high <= scaling.low {
                let expected = format!("more than low_freq_factor, {}", scaling.low);
                return Err(source.malformed(&field("high_freq_factor"), scaling.high, &expected));
            }
            Ok(RotaryScaling::Llama3(scaling))
        }
        other => Err(source.unsupported("rope scaling", other, "none, linear or llama3")),
    }
}

/// Files of early converters carry divisors for `hidden / head_count` instead of `head_dim`.
fn has_divisors(source: &ConfigSource<'_>, rotary_dim: u32) -> Result<bool> {
    match source.vector_length(ROTARY_DIVISORS) {
        None => Ok(false),
        Some(length) if length == rotary_dim as usize / 2 => Ok(true),
        Some(length) => {
            let expected = format!(
                "{} divisors, one for each pair of a head; files with fewer come from a converter that took \
                 hidden_size / num_attention_heads for the head size: convert the model again",
                rotary_dim / 2
            );
            Err(source.malformed(ROTARY_DIVISORS, length, &expected))
        }
    }
}

impl Architecture for Llama {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        plan.at("embedding");
        let embedding = self.embedding(plan);
        let mut x = plan.embed(embedding);
        let positions = self.positions(plan, context_length);
        for layer_index in 0..self.shape.layer_count {
            plan.at(format!("layer {layer_index}"));
            let norm = self.vector(plan, ATTENTION_NORM, layer_index, self.hidden);
            let h = plan.rms_norm(x, norm, self.epsilon);
            let weights = self.attention_weights(plan, layer_index);
            let y = attention(plan, h, &weights, self.attention, positions, layer_index, context_length);
            x = plan.add(x, y);
            let norm = self.vector(plan, FEED_FORWARD_NORM, layer_index, self.hidden);
            let h = plan.rms_norm(x, norm, self.epsilon);
            let weights = self.feed_forward_weights(plan, layer_index);
            let y = gated_feed_forward(plan, h, &weights);
            x = plan.add(x, y);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        plan.at("head");
        let norm = self.vector(plan, OUTPUT_NORM, 0, self.hidden);
        let h = plan.rms_norm(x, norm, self.epsilon);
        let output = if self.tied {
            self.embedding(plan)
        } else {
            self.matrix(plan, OUTPUT, 0, self.shape.vocabulary_size, self.hidden)
        };
        plan.matmul(output, h)
    }
}

impl Llama {
    fn matrix(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        names: Names,
        layer: u32,
        rows: u32,
        columns: u32,
    ) -> Matrix {
        plan.resources.weight_matrix(&names.of(self.is_gguf, layer), rows, columns)
    }

    fn vector(&self, plan: &mut PlanBuilder<'_, '_>, names: Names, layer: u32, length: u32) -> Buffer {
        plan.resources.weight_vector(&names.of(self.is_gguf, layer), length)
    }

    fn embedding(&self, plan: &mut PlanBuilder<'_, '_>) -> Matrix {
        self.matrix(plan, EMBEDDING, 0, self.shape.vocabulary_size, self.hidden)
    }

    fn attention_weights(&self, plan: &mut PlanBuilder<'_, '_>, layer: u32) -> AttentionWeights {
        let AttentionShape { head_count, kv_head_count, head_dim, .. } = self.attention;
        let (q, kv) = (head_count * head_dim, kv_head_count * head_dim);
        AttentionWeights {
            q: self.matrix(plan, Q, layer, q, self.hidden),
            k: self.matrix(plan, K, layer, kv, self.hidden),
            v: self.matrix(plan, V, layer, kv, self.hidden),
            output: self.matrix(plan, ATTENTION_OUTPUT, layer, self.hidden, q),
        }
    }

    fn feed_forward_weights(&self, plan: &mut PlanBuilder<'_, '_>, layer: u32) -> GatedWeights {
        GatedWeights {
            gate: self.matrix(plan, GATE, layer, self.intermediate, self.hidden),
            up: self.matrix(plan, UP, layer, self.intermediate, self.hidden),
            down: self.matrix(plan, DOWN, layer, self.hidden, self.intermediate),
        }
    }

    fn positions(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> RotaryPositions {
        let pairs = self.rotary_dim / 2;
        let table = plan.resources.rotary_table(|| RotaryTable {
            frequencies: (0..pairs).map(|pair| self.frequency(pair)).collect(),
            divisors: self.divisors.then(|| ROTARY_DIVISORS.to_owned()),
            context_length,
        });
        let pairing = if self.is_gguf { Pairing::Adjacent } else { Pairing::Halves };
        RotaryPositions { table, rotary_dim: self.rotary_dim, pairing }
    }

    /// Radians per position of a pair; wavelengths decide what `llama3` scaling does to it.
    fn frequency(&self, pair: u32) -> f32 {
        let plain = self.theta.powf(-2.0 * f64::from(pair) / f64::from(self.rotary_dim));
        let scaled = match self.scaling {
            RotaryScaling::None => plain,
            RotaryScaling::Linear(factor) => plain / factor,
            RotaryScaling::Llama3(Llama3Scaling { factor, low, high, original_context }) => {
                let turns = original_context * plain / std::f64::consts::TAU;
                let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - smooth) * plain / factor + smooth * plain
            }
        };
        scaled as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3.1's own numbers: pairs up to 28 keep their frequency, from 35 on it is an eighth.
    #[test]
    fn llama3_scaling_blends_between_its_wavelengths() {
        let model = |scaling| Llama {
            is_gguf: false,
            shape: Shape { vocabulary_size: 128_256, max_context_length: 131_072, layer_count: 32 },
            hidden: 4096,
            intermediate: 14_336,
            attention: AttentionShape { head_count: 32, kv_head_count: 8, head_dim: 128, scale: 1.0 },
            rotary_dim: 128,
            theta: 500_000.0,
            scaling,
            epsilon: 1e-5,
            tied: false,
            divisors: false,
        };
        let scaling = Llama3Scaling { factor: 8.0, low: 1.0, high: 4.0, original_context: 8192.0 };
        let (scaled, plain) = (model(RotaryScaling::Llama3(scaling)), model(RotaryScaling::None));
        for pair in 0..64 {
            let ratio = f64::from(scaled.frequency(pair)) / f64::from(plain.frequency(pair));
            match pair {
                0..=28 => assert!((ratio - 1.0).abs() < 1e-6, "{pair}: {ratio}"),
                29..=34 => assert!((0.126..0.999).contains(&ratio), "{pair}: {ratio}"),
                _ => assert!((ratio - 0.125).abs() < 1e-6, "{pair}: {ratio}"),
            }
        }
    }
}
