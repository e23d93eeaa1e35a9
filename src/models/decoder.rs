//! Parts common to decoder models: sizes, and weights by the names that most families use.

use super::architecture::Shape;
use super::config::{ConfigSource, TensorNames, names};
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction, AttentionShape, Buffer};
use crate::layers::{AttentionWeights, GatedWeights, QueryKeyNorms, gated_feed_forward};
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

/// Names of the tensors that families name differently.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) q_norm: TensorNames,
    pub(super) k_norm: TensorNames,
    pub(super) attention_output: TensorNames,
    pub(super) gate: TensorNames,
    pub(super) up: TensorNames,
    pub(super) down: TensorNames,
    pub(super) output_norm: TensorNames,
}

impl Names {
    /// Names of Llama and most others.
    pub(super) const USUAL: Self = Self {
        q_norm: Q_NORM,
        k_norm: K_NORM,
        attention_output: ATTENTION_OUTPUT,
        gate: GATE,
        up: UP,
        down: DOWN,
        output_norm: OUTPUT_NORM,
    };
}

/// Factors of the biases of linear layers; `None` for layers without a bias.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Biases {
    /// Queries, keys and values.
    pub(super) qkv: Option<f32>,
    /// Output projection of attention.
    pub(super) attention_output: Option<f32>,
    /// Gate and input of feed-forward layers.
    pub(super) feed_forward: Option<f32>,
    /// Output projection of feed-forward layers.
    pub(super) down: Option<f32>,
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
    /// [`NormExtent::Head`], after the rotation.
    RotatedHead,
    /// A norm of all heads of a row at once.
    Row,
}

/// Configuration of a decoder, from which its layers' weights are registered.
pub(super) struct Decoder {
    pub(super) is_gguf: bool,
    pub(super) names: Names,
    pub(super) shape: Shape,
    pub(super) hidden: u32,
    pub(super) intermediate: u32,
    /// Attention of all layers, unless they state their own.
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
        let intermediate = source.required_width("feed_forward_length", "intermediate_size")?;
        let decoder = Self::without_attention(source, intermediate, tied)?;
        let heads = source.required_count("attention.head_count", "num_attention_heads")?;
        let kv_heads = source.count("attention.head_count_kv", "num_key_value_heads")?;
        let attention = read_attention(source, kv_heads.unwrap_or(heads), None)?;
        Ok(Self { attention, ..decoder })
    }

    /// [`Decoder::read`] for a model whose layers state their own attention, and feed-forward
    /// layers of `intermediate` columns.
    pub(super) fn without_attention(
        source: &ConfigSource<'_>,
        intermediate: u32,
        tied: bool,
    ) -> Result<Self> {
        let is_gguf = source.is_gguf();
        let hidden = source.required_width("embedding_length", "hidden_size")?;
        let max_context_length = source.context_length()?;
        let tie = source.spelling(&["tie_embedding", "tie_word_embeddings"]);
        // A model for embeddings may have no output matrix. Logits mean nothing then.
        let makes_embeddings = !source.sentence_modules().is_empty();
        let may_be_tied = is_gguf || makes_embeddings || source.flag(tie)?.unwrap_or(tied);
        let layer_count = source.layer_count()?;
        let epsilon = source.spelling(&["norm_eps", "rms_norm_eps"]);
        Ok(Self {
            is_gguf,
            names: Names::USUAL,
            shape: Shape {
                vocabulary_size: source.vocabulary_size()?,
                max_context_length,
                layer_count,
            },
            hidden,
            intermediate,
            attention: AttentionShape::new(1, 1, 4),
            epsilon: source.epsilon("attention.layer_norm_rms_epsilon", epsilon)?,
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
        let h = self.output_norm(plan, x);
        let output = self.output(plan);
        let logits = plan.matmul(output, h);
        multiplied(plan, logits, self.multipliers.logits)
    }

    /// Appends the final norm.
    pub(super) fn output_norm(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        self.norm(plan, self.names.output_norm, 0, x)
    }

    /// Appends a layer norm; the name of its bias ends in `bias` instead of `weight`.
    pub(super) fn layer_norm(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        x: Activation,
    ) -> Activation {
        let name = names.of(self.is_gguf, layer);
        let weight = plan.resources.weight_vector(&name, x.width);
        let bias = name.strip_suffix("weight").unwrap_or(&name).to_owned() + "bias";
        let bias = plan.resources.weight_vector(&bias, x.width);
        plan.layer_norm(x, weight, bias, self.epsilon)
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
        self.attention_weights_of(plan, self.attention, layer)
    }

    /// [`Decoder::attention_weights`] of a layer that states its own attention.
    pub(super) fn attention_weights_of(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        shape: AttentionShape,
        layer: u32,
    ) -> AttentionWeights {
        let [q, kv] = [shape.head_count, shape.kv_head_count].map(|heads| heads * shape.head_dim);
        let Biases { qkv, attention_output, .. } = self.biases;
        let output = self.names.attention_output;
        AttentionWeights {
            q: self.linear(plan, Q, layer, [q, self.hidden], qkv),
            k: self.linear(plan, K, layer, [kv, self.hidden], qkv),
            v: self.linear(plan, V, layer, [kv, self.hidden], qkv),
            output: self.linear(plan, output, layer, [self.hidden, q], attention_output),
            norms: self.query_key_norms(plan, shape, layer),
        }
    }

    fn query_key_norms(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        shape: AttentionShape,
        layer: u32,
    ) -> Option<QueryKeyNorms> {
        let AttentionShape { head_count, kv_head_count, head_dim, .. } = shape;
        let (heads, kv_heads) = match self.query_key_norms? {
            NormExtent::Head | NormExtent::RotatedHead => (1, 1),
            NormExtent::Row => (head_count, kv_head_count),
        };
        let q = self.norm_weight(plan, self.names.q_norm, layer, heads * head_dim);
        let k = self.norm_weight(plan, self.names.k_norm, layer, kv_heads * head_dim);
        let per_head = self.query_key_norms != Some(NormExtent::Row);
        let after_rotation = self.query_key_norms == Some(NormExtent::RotatedHead);
        Some(QueryKeyNorms { q, k, per_head, after_rotation, epsilon: self.epsilon })
    }

    /// Weights of a gated feed-forward layer.
    pub(super) fn feed_forward_weights(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        layer: u32,
    ) -> GatedWeights {
        let Self { names, biases, hidden, intermediate, .. } = *self;
        let inputs = biases.feed_forward;
        GatedWeights {
            gate: self.linear(plan, names.gate, layer, [intermediate, hidden], inputs),
            up: self.linear(plan, names.up, layer, [intermediate, hidden], inputs),
            down: self.linear(plan, names.down, layer, [hidden, intermediate], biases.down),
        }
    }

    /// Appends the gated feed-forward layer of a row's norm, and its addition to the residual `x`.
    pub(super) fn feed_forward(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        norm: TensorNames,
        layer: u32,
        x: Activation,
    ) -> Activation {
        let h = self.norm(plan, norm, layer, x);
        let weights = self.feed_forward_weights(plan, layer);
        let y = gated_feed_forward(plan, h, &weights, ActivationFunction::Silu);
        self.add(plan, x, y)
    }

    /// A matrix `[outputs, inputs]`, and its bias, whose name ends in `bias` instead of `weight`.
    pub(super) fn linear(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        names: TensorNames,
        layer: u32,
        [outputs, inputs]: [u32; 2],
        bias: Option<f32>,
    ) -> Linear {
        plan.resources.linear(&names.of(self.is_gguf, layer), outputs, inputs, bias)
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

/// Reads the biases of a family that may have some: from flags of `config.json`, or from the
/// tensors of GGUF, which has no such keys.
pub(super) fn optional_biases(source: &ConfigSource<'_>) -> Result<Biases> {
    flagged_biases(source, "attention_bias", "mlp_bias")
}

/// [`optional_biases`] with other names of the flags.
pub(super) fn flagged_biases(
    source: &ConfigSource<'_>,
    attention: &str,
    feed_forward: &str,
) -> Result<Biases> {
    let has = |names: TensorNames, flag: &str| {
        let tensor = names.of(source.is_gguf(), 0).replace(".weight", ".bias");
        let has_bias = if source.is_gguf() {
            source.has_tensor(&tensor)
        } else {
            source.flag(flag)? == Some(true)
        };
        Ok(has_bias.then_some(1.0))
    };
    Ok(Biases {
        qkv: has(Q, attention)?,
        attention_output: has(ATTENTION_OUTPUT, attention)?,
        feed_forward: has(GATE, feed_forward)?,
        down: has(DOWN, feed_forward)?,
    })
}

/// `factor · x`.
pub(super) fn multiplied(plan: &mut PlanBuilder<'_, '_>, x: Activation, factor: f32) -> Activation {
    if factor == 1.0 {
        return x;
    }
    plan.elementwise(x, ActivationFunction::Scale(factor))
}

/// Elements of an attention head; `default` is the value of an absent field in `config.json`, if
/// it is not `hidden_size / num_attention_heads`.
pub(super) fn head_dim(source: &ConfigSource<'_>, default: Option<u32>) -> Result<u32> {
    let hidden = source.required_width("embedding_length", "hidden_size")?;
    let heads = source.required_count("attention.head_count", "num_attention_heads")?;
    let default = default.filter(|_| !source.is_gguf()).unwrap_or(hidden / heads);
    Ok(source.count("attention.key_length", "head_dim")?.unwrap_or(default))
}

/// Reads the sizes of an attention layer with `kv_heads` KV heads; `default_head_dim` as for
/// [`head_dim`].
pub(super) fn read_attention(
    source: &ConfigSource<'_>,
    kv_heads: u32,
    default_head_dim: Option<u32>,
) -> Result<AttentionShape> {
    let heads = source.required_count("attention.head_count", "num_attention_heads")?;
    checked_attention(source, heads, kv_heads, head_dim(source, default_head_dim)?)
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
