//! Parts common to decoder models: sizes, and weights by the names that most families use.

use super::architecture::Shape;
use super::config::{ConfigSource, TensorNames, names};
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction, AttentionShape, Buffer};
use crate::layers::{AttentionWeights, GatedWeights, QueryKeyNorms};
use crate::plan::{Linear, Matrix, PlanBuilder, Transform, VectorPart};

names! {
    EMBEDDING: "token_embd.weight", "model.embed_tokens.weight";
    Q: "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight";
    K: "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight";
    V: "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight";
    Q_NORM: "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight";
    K_NORM: "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight";
    ATTENTION_OUTPUT: "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight";
    GATE: "blk.{}.ffn_gate.weight", "model.layers.{}.mlp.gate_proj.weight";
    UP: "blk.{}.ffn_up.weight", "model.layers.{}.mlp.up_proj.weight";
    DOWN: "blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight";
    OUTPUT_NORM: "output_norm.weight", "model.norm.weight";
    OUTPUT: "output.weight", "lm_head.weight";
}

/// Linear layers that have a bias.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Biases {
    /// Queries, keys and values.
    pub(super) qkv: bool,
    /// Output projection of attention.
    pub(super) attention_output: bool,
    /// Feed-forward layers.
    pub(super) feed_forward: bool,
}

/// Numbers that some families multiply activations by; 1 leaves them as they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Multipliers {
    /// Rows of the embedding matrix.
    pub(super) embedding: f32,
    /// Outputs of attention and feed-forward layers, before they are added to the residual.
    pub(super) residual: f32,
    /// Logits.
    pub(super) logits: f32,
}

impl Multipliers {
    const NONE: Self = Self { embedding: 1.0, residual: 1.0, logits: 1.0 };
}

/// Extent of the root-mean-square norms of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormExtent {
    /// A norm of each head, with one weight `[head_dim]` for all.
    Head,
    /// A norm of all heads of a row at once.
    Row,
}

/// Configuration of a decoder, from which its layers' weights are registered.
pub(super) struct Decoder {
    pub(super) is_gguf: bool,
    pub(super) shape: Shape,
    pub(super) hidden: u32,
    pub(super) intermediate: u32,
    pub(super) attention: AttentionShape,
    /// Epsilon of the norms.
    pub(super) epsilon: f32,
    pub(super) biases: Biases,
    /// Map from the stored weights of norms to their values.
    pub(super) norm_transform: Transform,
    /// Norms of queries and keys, if the family has some.
    pub(super) query_key_norms: Option<NormExtent>,
    pub(super) multipliers: Multipliers,
    /// True if the embedding matrix is the output matrix too.
    tied: bool,
}

impl Decoder {
    /// Reads the configuration; `tied` is the default of `tie_word_embeddings`.
    pub(super) fn read(source: &ConfigSource<'_>, tied: bool) -> Result<Self> {
        let is_gguf = source.is_gguf();
        let hidden = source.required_width("embedding_length", "hidden_size")?;
        let max_context_length =
            source.required_count("context_length", "max_position_embeddings")?;
        let may_be_tied = is_gguf || source.flag("tie_word_embeddings")?.unwrap_or(tied);
        let layer_count = source.layer_count()?;
        Ok(Self {
            is_gguf,
            shape: Shape {
                vocabulary_size: source.vocabulary_size()?,
                max_context_length,
                layer_count,
            },
            hidden,
            intermediate: source.required_width("feed_forward_length", "intermediate_size")?,
            attention: attention_shape(source, hidden)?,
            epsilon: source.epsilon("attention.layer_norm_rms_epsilon", "rms_norm_eps")?,
            biases: Biases::default(),
            norm_transform: Transform::None,
            query_key_norms: None,
            multipliers: Multipliers::NONE,
            tied: !source.has_tensor(&OUTPUT.of(is_gguf, 0)) && may_be_tied,
        })
    }

    /// Appends the lookup of the step's tokens in the embedding matrix.
    pub(super) fn embed(&self, plan: &mut PlanBuilder<'_, '_>) -> Activation {
        plan.at("embedding");
        let embedding = self.embedding(plan);
        let x = plan.embed(embedding);
        multiplied(plan, x, self.multipliers.embedding)
    }

    /// Appends the addition of a layer's output `y` to its residual `x`.
    pub(super) fn add(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        x: Activation,
        y: Activation,
    ) -> Activation {
        let y = multiplied(plan, y, self.multipliers.residual);
        plan.add(x, y)
    }

    /// Appends the final norm and the product with the output matrix.
    pub(super) fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        plan.at("head");
        let h = self.norm(plan, OUTPUT_NORM, 0, x);
        let output = self.output(plan);
        let logits = plan.matmul(output, h);
        multiplied(plan, logits, self.multipliers.logits)
    }

    /// Appends a root-mean-square norm of whole rows.
    pub(super) fn norm(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        x: Activation,
    ) -> Activation {
        let weight = self.norm_weight(plan, names, layer, self.hidden);
        plan.rms_norm(x, weight, self.epsilon)
    }

    /// Weight of a norm, `[length]`.
    pub(super) fn norm_weight(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        length: u32,
    ) -> Buffer {
        let part = VectorPart::new(names.of(self.is_gguf, layer), &[length]);
        plan.resources.packed_vector(vec![part.transformed(self.norm_transform)])
    }

    /// Weights of an attention layer.
    pub(super) fn attention_weights(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        layer: u32,
    ) -> AttentionWeights {
        self.attention_weights_named(plan, ATTENTION_OUTPUT, layer)
    }

    /// [`Decoder::attention_weights`] with another name of the output projection.
    pub(super) fn attention_weights_named(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        output: TensorNames,
        layer: u32,
    ) -> AttentionWeights {
        let AttentionShape { head_count, kv_head_count, head_dim, .. } = self.attention;
        let (q, kv) = (head_count * head_dim, kv_head_count * head_dim);
        let Biases { qkv, attention_output, .. } = self.biases;
        AttentionWeights {
            q: self.linear(plan, Q, layer, [q, self.hidden], qkv),
            k: self.linear(plan, K, layer, [kv, self.hidden], qkv),
            v: self.linear(plan, V, layer, [kv, self.hidden], qkv),
            output: self.linear(plan, output, layer, [self.hidden, q], attention_output),
            norms: self.query_key_norms(plan, layer),
        }
    }

    fn query_key_norms(&self, plan: &mut PlanBuilder<'_, '_>, layer: u32) -> Option<QueryKeyNorms> {
        let AttentionShape { head_count, kv_head_count, head_dim, .. } = self.attention;
        let (heads, kv_heads) = match self.query_key_norms? {
            NormExtent::Head => (1, 1),
            NormExtent::Row => (head_count, kv_head_count),
        };
        let q = self.norm_weight(plan, Q_NORM, layer, heads * head_dim);
        let k = self.norm_weight(plan, K_NORM, layer, kv_heads * head_dim);
        let per_head = self.query_key_norms == Some(NormExtent::Head);
        Some(QueryKeyNorms { q, k, per_head, epsilon: self.epsilon })
    }

    /// Weights of a gated feed-forward layer.
    pub(super) fn feed_forward_weights(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        layer: u32,
    ) -> GatedWeights {
        let bias = self.biases.feed_forward;
        GatedWeights {
            gate: self.linear(plan, GATE, layer, [self.intermediate, self.hidden], bias),
            up: self.linear(plan, UP, layer, [self.intermediate, self.hidden], bias),
            down: self.linear(plan, DOWN, layer, [self.hidden, self.intermediate], bias),
        }
    }

    /// A matrix `[outputs, inputs]`, and its bias, whose name ends in `bias` instead of `weight`.
    pub(super) fn linear(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        [outputs, inputs]: [u32; 2],
        has_bias: bool,
    ) -> Linear {
        let name = names.of(self.is_gguf, layer);
        let weight = plan.resources.weight_matrix(&name, outputs, inputs);
        let bias = has_bias.then(|| plan.resources.weight_vector(&bias_of(&name), outputs));
        Linear { weight, bias }
    }

    fn embedding(&self, plan: &mut PlanBuilder<'_, '_>) -> Matrix {
        let name = EMBEDDING.of(self.is_gguf, 0);
        plan.resources.weight_matrix(&name, self.shape.vocabulary_size, self.hidden)
    }

    fn output(&self, plan: &mut PlanBuilder<'_, '_>) -> Matrix {
        if self.tied {
            return self.embedding(plan);
        }
        let name = OUTPUT.of(self.is_gguf, 0);
        plan.resources.weight_matrix(&name, self.shape.vocabulary_size, self.hidden)
    }
}

/// Reads the biases of a family that may have some: from the flags of `config.json`, or from the
/// tensors of GGUF, which has no such keys.
pub(super) fn optional_biases(source: &ConfigSource<'_>) -> Result<Biases> {
    let has = |names: TensorNames, flag: &str| {
        let tensor = bias_of(&names.of(source.is_gguf(), 0));
        Ok(if source.is_gguf() {
            source.has_tensor(&tensor)
        } else {
            source.flag(flag)? == Some(true)
        })
    };
    Ok(Biases {
        qkv: has(Q, "attention_bias")?,
        attention_output: has(ATTENTION_OUTPUT, "attention_bias")?,
        feed_forward: has(GATE, "mlp_bias")?,
    })
}

fn multiplied(plan: &mut PlanBuilder<'_, '_>, x: Activation, factor: f32) -> Activation {
    if factor == 1.0 {
        return x;
    }
    plan.elementwise(x, ActivationFunction::Scale(factor))
}

fn bias_of(weight: &str) -> String {
    weight.strip_suffix("weight").unwrap_or(weight).to_owned() + "bias"
}

fn attention_shape(source: &ConfigSource<'_>, hidden: u32) -> Result<AttentionShape> {
    let heads = source.required_count("attention.head_count", "num_attention_heads")?;
    let kv_heads = source.count("attention.head_count_kv", "num_key_value_heads")?.unwrap_or(heads);
    let head_dim = source.count("attention.key_length", "head_dim")?.unwrap_or(hidden / heads);
    checked_attention(source, heads, kv_heads, head_dim)
}

/// Checks the sizes of an attention layer that a configuration states.
pub(super) fn checked_attention(
    source: &ConfigSource<'_>,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
) -> Result<AttentionShape> {
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        let expected = format!("a divisor of the {heads} query heads");
        let field = source.field("attention.head_count_kv", "num_key_value_heads");
        return Err(source.malformed(&field, kv_heads, &expected));
    }
    if head_dim == 0 || !head_dim.is_multiple_of(4) || head_dim > AttentionShape::MAX_HEAD_DIM {
        let expected = format!("a multiple of 4 up to {}", AttentionShape::MAX_HEAD_DIM);
        let field = source.field("attention.key_length", "head_dim");
        return Err(source.unsupported(&field, head_dim, &expected));
    }
    let value_dim = source.count("attention.value_length", "head_dim")?.unwrap_or(head_dim);
    if value_dim != head_dim {
        let expected = format!("{head_dim}, the length of keys");
        let field = source.field("attention.value_length", "head_dim");
        return Err(source.unsupported(&field, value_dim, &expected));
    }
    if heads > AttentionShape::MAX_HEADS {
        let expected = format!("at most {}", AttentionShape::MAX_HEADS);
        let field = source.field("attention.head_count", "num_attention_heads");
        return Err(source.unsupported(&field, heads, &expected));
    }
    let width = u64::from(heads) * u64::from(head_dim);
    source.check_width("width of all attention heads", width)?;
    Ok(AttentionShape::new(heads, kv_heads, head_dim))
}
