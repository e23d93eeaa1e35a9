//! Granite 4 without experts: Granite 4 H (350M, 1B, Micro), and its models of attention alone.
//!
//! Each layer is a Mamba-2 mixer or attention, mostly without positions, then a gated feed-forward
//! layer. Reference: IBM 2025 (Granite 4.0); where the report is silent,
//! `GraniteMoeHybridForCausalLM` in Hugging Face transformers.

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, TensorNames, names};
use super::decoder::checked_attention;
use super::mamba::{self, MambaFields};
use super::named_weights::NamedWeights;
use super::rotary::Rotary;
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction, AttentionShape, Pairing};
use crate::layers::{
    AttentionWeights, GatedWeights, MambaConfig, attention, gated_feed_forward, mamba_mixer,
};
use crate::plan::{Matrix, PlanBuilder};

names! {
    EMBEDDING: "token_embd.weight", "model.embed_tokens.weight";
    NORM: "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight";
    Q: "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight";
    K: "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight";
    V: "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight";
    ATTENTION_OUTPUT: "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight";
    FEED_FORWARD_NORM: "blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight";
    GATE: "blk.{}.ffn_gate.weight", "model.layers.{}.shared_mlp.gate_proj.weight";
    UP: "blk.{}.ffn_up.weight", "model.layers.{}.shared_mlp.up_proj.weight";
    DOWN: "blk.{}.ffn_down.weight", "model.layers.{}.shared_mlp.output_linear.weight";
    OUTPUT_NORM: "output_norm.weight", "model.norm.weight";
    OUTPUT: "output.weight", "lm_head.weight";
}

/// First part of a layer.
#[derive(Debug, Clone, Copy)]
enum Mixer {
    Mamba(MambaConfig),
    Attention(AttentionShape),
}

/// Factors of the embedding, of what each part of a layer adds, and of the logits.
struct Multipliers {
    embedding: f32,
    residual: f32,
    logits: f32,
}

struct GraniteHybrid {
    weights: NamedWeights,
    shape: Shape,
    hidden: u32,
    intermediate: u32,
    mixers: Vec<Mixer>,
    /// Rotary positions of attention, if there are any.
    rotary: Option<Rotary>,
    multipliers: Multipliers,
    epsilon: f32,
    /// True if the embedding matrix is the output matrix too.
    tied: bool,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    check_supported(source)?;
    let is_gguf = source.is_gguf();
    let hidden = source.required_width("embedding_length", "hidden_size")?;
    let epsilon = match source.has("rms_norm_eps") || is_gguf {
        true => source.epsilon("attention.layer_norm_rms_epsilon", "rms_norm_eps")?,
        false => 1e-6,
    };
    let may_be_tied = is_gguf || source.flag("tie_word_embeddings")? == Some(true);
    let mixers = mixers(source, hidden, epsilon)?;
    Ok(Box::new(GraniteHybrid {
        weights: NamedWeights { is_gguf },
        shape: Shape {
            vocabulary_size: source.vocabulary_size()?,
            max_context_length: source
                .required_count("context_length", "max_position_embeddings")?,
            layer_count: mixers.len() as u32,
        },
        hidden,
        intermediate: source.required_width("feed_forward_length", "shared_intermediate_size")?,
        mixers,
        rotary: read_rotary(source)?,
        multipliers: Multipliers {
            embedding: multiplier(source, "embedding_scale", "embedding_multiplier")?,
            residual: multiplier(source, "residual_scale", "residual_multiplier")?,
            logits: multiplier(source, "logit_scale", "logits_scaling")?.recip(),
        },
        epsilon,
        tied: !source.has_tensor(&OUTPUT.of(is_gguf, 0)) && may_be_tied,
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

/// Reads a positive multiplier, 1 if absent, small and large enough to be divided by.
fn multiplier(source: &ConfigSource<'_>, gguf: &str, hugging_face: &str) -> Result<f32> {
    let found = source.number(gguf, hugging_face)?.unwrap_or(1.0);
    if !(1e-9..=1e9).contains(&found) {
        let field = source.field(gguf, hugging_face);
        return Err(source.malformed(&field, found, "a positive number from 1e-9 to 1e9"));
    }
    Ok(found as f32)
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
    let mut rotary = Rotary::read(source, head_dim(source)?, "rope_parameters", 10_000.0)?;
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
    let fields = MambaFields {
        head_count: "mamba_n_heads",
        head_dim: "mamba_d_head",
        group_count: "mamba_n_groups",
        state_size: "mamba_d_state",
        conv_kernel: "mamba_d_conv",
    };
    let mixers = kv_head_counts.into_iter().map(|kv_head_count| match kv_head_count {
        0 => Ok(Mixer::Mamba(mamba::read(source, &fields, hidden, epsilon)?)),
        count => Ok(Mixer::Attention(read_attention(source, count)?)),
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

/// Elements of an attention head.
fn head_dim(source: &ConfigSource<'_>) -> Result<u32> {
    let hidden = source.required_width("embedding_length", "hidden_size")?;
    let heads = source.required_count("attention.head_count", "num_attention_heads")?;
    Ok(source.count("attention.key_length", "head_dim")?.unwrap_or(hidden / heads))
}

fn read_attention(source: &ConfigSource<'_>, kv_head_count: u32) -> Result<AttentionShape> {
    let heads = source.required_count("attention.head_count", "num_attention_heads")?;
    let shape = checked_attention(source, heads, kv_head_count, head_dim(source)?)?;
    let (gguf, hugging_face) = ("attention.scale", "attention_multiplier");
    // Without the number, llama.cpp scales scores as for other families, transformers by 1.
    if source.is_gguf() && source.number(gguf, hugging_face)?.is_none() {
        return Ok(shape);
    }
    Ok(AttentionShape { scale: multiplier(source, gguf, hugging_face)?, ..shape })
}

impl GraniteHybrid {
    fn norm(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        x: Activation,
    ) -> Activation {
        let weight = self.weights.vector(plan, names, layer, self.hidden);
        plan.rms_norm(x, weight, self.epsilon)
    }

    fn embedding(&self, plan: &mut PlanBuilder<'_, '_>) -> Matrix {
        self.weights.matrix(plan, EMBEDDING, 0, [self.shape.vocabulary_size, self.hidden])
    }

    /// `x + residual multiplier · y`.
    fn add(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation, y: Activation) -> Activation {
        let y = scaled(plan, y, self.multipliers.residual);
        plan.add(x, y)
    }

    fn attention_weights(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        shape: AttentionShape,
        layer: u32,
    ) -> AttentionWeights {
        let Self { weights, hidden, .. } = *self;
        let [q, kv] = [shape.head_count, shape.kv_head_count].map(|heads| heads * shape.head_dim);
        AttentionWeights {
            q: weights.linear(plan, Q, layer, [q, hidden]),
            k: weights.linear(plan, K, layer, [kv, hidden]),
            v: weights.linear(plan, V, layer, [kv, hidden]),
            output: weights.linear(plan, ATTENTION_OUTPUT, layer, [hidden, q]),
            norms: None,
        }
    }

    fn feed_forward_weights(&self, plan: &mut PlanBuilder<'_, '_>, layer: u32) -> GatedWeights {
        let Self { weights, hidden, intermediate, .. } = *self;
        GatedWeights {
            gate: weights.linear(plan, GATE, layer, [intermediate, hidden]),
            up: weights.linear(plan, UP, layer, [intermediate, hidden]),
            down: weights.linear(plan, DOWN, layer, [hidden, intermediate]),
        }
    }
}

/// `scale · x`.
fn scaled(plan: &mut PlanBuilder<'_, '_>, x: Activation, scale: f32) -> Activation {
    if scale == 1.0 { x } else { plan.elementwise(x, ActivationFunction::Scale(scale)) }
}

impl Architecture for GraniteHybrid {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        plan.at("embedding");
        let embedding = self.embedding(plan);
        let x = plan.embed(embedding);
        let mut x = scaled(plan, x, self.multipliers.embedding);
        for (layer, mixer) in (0..).zip(&self.mixers) {
            plan.at(format!("layer {layer}"));
            let h = self.norm(plan, NORM, layer, x);
            let y = match mixer {
                Mixer::Mamba(config) => {
                    let prefix = "model.layers.{}.mamba.";
                    let tensors = mamba::tensors(self.weights.is_gguf, prefix, layer);
                    let weights = config.weights(plan, &tensors);
                    mamba_mixer(plan, h, &weights, config, layer)
                }
                Mixer::Attention(shape) => {
                    let weights = self.attention_weights(plan, *shape, layer);
                    let rotary = self.rotary.as_ref();
                    let positions = rotary.map(|rotary| rotary.positions(plan, context_length));
                    attention(plan, h, &weights, *shape, positions, layer, context_length)
                }
            };
            x = self.add(plan, x, y);
            let h = self.norm(plan, FEED_FORWARD_NORM, layer, x);
            let weights = self.feed_forward_weights(plan, layer);
            let y = gated_feed_forward(plan, h, &weights, ActivationFunction::Silu);
            x = self.add(plan, x, y);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        plan.at("head");
        let h = self.norm(plan, OUTPUT_NORM, 0, x);
        let output = if self.tied {
            self.embedding(plan)
        } else {
            self.weights.matrix(plan, OUTPUT, 0, [self.shape.vocabulary_size, self.hidden])
        };
        let logits = plan.matmul(output, h);
        scaled(plan, logits, self.multipliers.logits)
    }
}
