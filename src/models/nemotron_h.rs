//! Nemotron-H: Nemotron 3 Nano 4B, Nemotron Nano 9B v2, the dense Nemotron-H models.
//!
//! Each layer is one of three: a Mamba-2 mixer, attention without positions, or a feed-forward
//! layer of squared ReLU, with one norm and one residual. Reference: NVIDIA 2025 (Nemotron-H);
//! where the paper is silent, `NemotronHForCausalLM` in Hugging Face transformers, except for its
//! clamp of the step size, which trained models do not have.

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, TensorNames, names};
use super::decoder::checked_attention;
use super::mamba::{self, MambaFields};
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction, AttentionShape, Buffer};
use crate::layers::{
    AttentionWeights, MambaConfig, MambaWeights, attention, feed_forward, mamba_mixer,
};
use crate::plan::{Linear, Matrix, PlanBuilder};

names! {
    EMBEDDING: "token_embd.weight", "backbone.embeddings.weight";
    NORM: "blk.{}.attn_norm.weight", "backbone.layers.{}.norm.weight";
    Q: "blk.{}.attn_q.weight", "backbone.layers.{}.mixer.q_proj.weight";
    K: "blk.{}.attn_k.weight", "backbone.layers.{}.mixer.k_proj.weight";
    V: "blk.{}.attn_v.weight", "backbone.layers.{}.mixer.v_proj.weight";
    ATTENTION_OUTPUT: "blk.{}.attn_output.weight", "backbone.layers.{}.mixer.o_proj.weight";
    UP: "blk.{}.ffn_up.weight", "backbone.layers.{}.mixer.up_proj.weight";
    DOWN: "blk.{}.ffn_down.weight", "backbone.layers.{}.mixer.down_proj.weight";
    OUTPUT_NORM: "output_norm.weight", "backbone.norm_f.weight";
    OUTPUT: "output.weight", "lm_head.weight";
}

/// Prefix of a mixer's tensors in Hugging Face checkpoints.
const MIXER: &str = "backbone.layers.{}.mixer.";

/// Kind of a layer: the part between its norm and its residual.
#[derive(Debug, Clone, Copy)]
enum Layer {
    Mamba,
    Attention(AttentionShape),
    FeedForward { intermediate: u32 },
}

struct NemotronH {
    is_gguf: bool,
    /// True if Hugging Face names have the prefix `model.`, as in transformers 5, instead of
    /// `backbone.`.
    is_renamed: bool,
    shape: Shape,
    hidden: u32,
    layers: Vec<Layer>,
    mamba: MambaConfig,
    epsilon: f32,
    /// True if the embedding matrix is the output matrix too.
    tied: bool,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    check_supported(source)?;
    let is_gguf = source.is_gguf();
    let layers = if is_gguf { layers_of_gguf(source)? } else { layers_of_config(source)? };
    let epsilon = source.spelling(&["layer_norm_epsilon", "rms_norm_eps", "norm_eps"]);
    let epsilon = source.epsilon("attention.layer_norm_rms_epsilon", epsilon)?;
    let may_be_tied = is_gguf || source.flag("tie_word_embeddings")? == Some(true);
    let hidden = source.required_width("embedding_length", "hidden_size")?;
    Ok(Box::new(NemotronH {
        is_gguf,
        is_renamed: source.has_tensor("model.embeddings.weight"),
        shape: Shape {
            vocabulary_size: source.vocabulary_size()?,
            max_context_length: source
                .required_count("context_length", "max_position_embeddings")?,
            layer_count: layers.len() as u32,
        },
        hidden,
        layers,
        mamba: read_mamba(source, hidden, epsilon)?,
        epsilon,
        tied: !source.has_tensor(&OUTPUT.of(is_gguf, 0)) && may_be_tied,
    }))
}

/// Rejects options of the family's configuration that its dense models do not use.
fn check_supported(source: &ConfigSource<'_>) -> Result<()> {
    for flag in ["attention_bias", "mlp_bias", "use_bias", "mamba_proj_bias"] {
        if source.flag(flag)? == Some(true) {
            return Err(source.unsupported(flag, true, "false"));
        }
    }
    let conv_bias = source.spelling(&["use_conv_bias", "mamba_conv_bias"]);
    if source.flag(conv_bias)? == Some(false) {
        return Err(source.unsupported(conv_bias, false, "true"));
    }
    // GGUF has one key, which cannot name both functions.
    source.check_choice("", "mlp_hidden_act", &["relu2"])?;
    source.check_choice("", "mamba_hidden_act", &["silu"])?;
    if source.has("sliding_window") {
        return Err(source.unsupported("sliding_window", "a window", "null"));
    }
    mamba::check_step_limit(source, source.spelling(&["time_step_limit", "mamba_dt_limit"]))
}

/// Reads the kind of each layer from GGUF: a layer with feed-forward columns is feed-forward, one
/// with KV heads only is attention, one with neither is a Mamba-2 mixer.
fn layers_of_gguf(source: &ConfigSource<'_>) -> Result<Vec<Layer>> {
    let layer_count = source.layer_count()?;
    let kv_head_counts = source.layer_counts("attention.head_count_kv", "", layer_count)?;
    let intermediates = source.layer_counts("feed_forward_length", "", layer_count)?;
    let layers = kv_head_counts.into_iter().zip(intermediates).map(|counts| match counts {
        (0, 0) => Ok(Layer::Mamba),
        (kv_head_count, 0) => Ok(Layer::Attention(read_attention(source, kv_head_count)?)),
        (_, intermediate) => {
            let intermediate = source.check_width("feed_forward_length", intermediate.into())?;
            Ok(Layer::FeedForward { intermediate })
        }
    });
    layers.collect()
}

/// Reads the kind of each layer from `config.json`, which states a letter or a word per layer.
fn layers_of_config(source: &ConfigSource<'_>) -> Result<Vec<Layer>> {
    let field = source.spelling(&["layers_block_type", "layer_types", "hybrid_override_pattern"]);
    let kinds: Vec<&str> = if field == "hybrid_override_pattern" {
        let pattern = source.text("", field)?.unwrap_or_default();
        source.check_layer_count(field, pattern.chars().count())?;
        pattern.split("").filter(|letter| !letter.is_empty()).collect()
    } else {
        source.texts(field)?.unwrap_or_default()
    };
    let layer_count = source.check_layer_count(field, kinds.len())?;
    if let Some(count) =
        source.count("", "num_hidden_layers")?.filter(|count| *count != layer_count)
    {
        let expected = format!("{layer_count}, the layers of {field}");
        return Err(source.malformed("num_hidden_layers", count, &expected));
    }
    let kv_head_count = source.spelling(&["num_key_value_heads", "num_attention_heads"]);
    let kv_head_count = source.required_count("", kv_head_count)?;
    let intermediates = if kinds.iter().any(|kind| ["-", "mlp"].contains(kind)) {
        source.layer_counts("", "intermediate_size", layer_count)?
    } else {
        vec![0; kinds.len()]
    };
    let layers = kinds.iter().zip(intermediates).map(|(kind, intermediate)| match *kind {
        "M" | "mamba" | "linear_attention" => Ok(Layer::Mamba),
        "*" | "attention" | "full_attention" => {
            Ok(Layer::Attention(read_attention(source, kv_head_count)?))
        }
        "-" | "mlp" => {
            let intermediate = source.check_width("intermediate_size", intermediate.into())?;
            Ok(Layer::FeedForward { intermediate })
        }
        other => Err(source.unsupported(field, other, "layers of mamba, attention or mlp")),
    });
    layers.collect()
}

fn read_mamba(source: &ConfigSource<'_>, hidden: u32, epsilon: f32) -> Result<MambaConfig> {
    let fields = MambaFields {
        head_count: "mamba_num_heads",
        head_dim: "mamba_head_dim",
        group_count: source.spelling(&["n_groups", "mamba_n_groups"]),
        state_size: "ssm_state_size",
        conv_kernel: source.spelling(&["conv_kernel", "mamba_d_conv"]),
    };
    mamba::read(source, &fields, hidden, epsilon)
}

fn read_attention(source: &ConfigSource<'_>, kv_head_count: u32) -> Result<AttentionShape> {
    let head_count = source.required_count("attention.head_count", "num_attention_heads")?;
    let head_dim = source.spelling(&["head_dim", "attention_head_dim"]);
    let head_dim = source.required_count("attention.key_length", head_dim)?;
    checked_attention(source, head_count, kv_head_count, head_dim)
}

impl Architecture for NemotronH {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        plan.at("embedding");
        let embedding = self.embedding(plan);
        let mut x = plan.embed(embedding);
        for (index, layer) in (0..).zip(&self.layers) {
            plan.at(format!("layer {index}"));
            let norm = self.vector(plan, NORM, index);
            let h = plan.rms_norm(x, norm, self.epsilon);
            let y = match *layer {
                Layer::Mamba => {
                    let weights = self.mamba_weights(plan, index);
                    mamba_mixer(plan, h, &weights, &self.mamba, index)
                }
                Layer::Attention(shape) => {
                    let weights = self.attention_weights(plan, shape, index);
                    attention(plan, h, &weights, shape, None, index, context_length)
                }
                Layer::FeedForward { intermediate } => {
                    let up = self.linear(plan, UP, index, intermediate, self.hidden);
                    let down = self.linear(plan, DOWN, index, self.hidden, intermediate);
                    feed_forward(plan, h, up, down, ActivationFunction::ReluSquared)
                }
            };
            x = plan.add(x, y);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        plan.at("head");
        let norm = self.vector(plan, OUTPUT_NORM, 0);
        let h = plan.rms_norm(x, norm, self.epsilon);
        let output = if self.tied {
            self.embedding(plan)
        } else {
            self.matrix(plan, OUTPUT, 0, self.shape.vocabulary_size, self.hidden)
        };
        plan.matmul(output, h)
    }
}

impl NemotronH {
    /// Name of a tensor in this checkpoint.
    fn name(&self, names: TensorNames, layer: u32) -> String {
        let name = names.of(self.is_gguf, layer);
        if self.is_renamed { name.replacen("backbone.", "model.", 1) } else { name }
    }

    fn matrix(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        rows: u32,
        columns: u32,
    ) -> Matrix {
        plan.resources.weight_matrix(&self.name(names, layer), rows, columns)
    }

    /// A linear layer without a bias.
    fn linear(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        outputs: u32,
        inputs: u32,
    ) -> Linear {
        Linear { weight: self.matrix(plan, names, layer, outputs, inputs), bias: None }
    }

    /// Weight of a norm, `[hidden]`.
    fn vector(&self, plan: &mut PlanBuilder<'_, '_>, names: TensorNames, layer: u32) -> Buffer {
        plan.resources.weight_vector(&self.name(names, layer), self.hidden)
    }

    fn embedding(&self, plan: &mut PlanBuilder<'_, '_>) -> Matrix {
        self.matrix(plan, EMBEDDING, 0, self.shape.vocabulary_size, self.hidden)
    }

    fn mamba_weights(&self, plan: &mut PlanBuilder<'_, '_>, layer: u32) -> MambaWeights {
        let prefix = if self.is_renamed { "model.layers.{}.mixer." } else { MIXER };
        self.mamba.weights(plan, &mamba::tensors(self.is_gguf, prefix, layer))
    }

    fn attention_weights(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        shape: AttentionShape,
        layer: u32,
    ) -> AttentionWeights {
        let q = shape.head_count * shape.head_dim;
        let kv = shape.kv_head_count * shape.head_dim;
        AttentionWeights {
            q: self.linear(plan, Q, layer, q, self.hidden),
            k: self.linear(plan, K, layer, kv, self.hidden),
            v: self.linear(plan, V, layer, kv, self.hidden),
            output: self.linear(plan, ATTENTION_OUTPUT, layer, self.hidden, q),
            norms: None,
        }
    }
}
