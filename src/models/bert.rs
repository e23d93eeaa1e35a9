//! BERT encoders, such as all-MiniLM-L6-v2 and bge-small: bidirectional attention, layer norms
//! after the residuals, learned positions. They make embeddings and generate no text.
//!
//! Reference: Devlin et al. 2019; where the paper is silent, `BertModel` in Hugging Face
//! transformers. llama.cpp approximates the activation function by tanh, TabLM does not.

use super::architecture::{Architecture, Shape};
use super::config::{ConfigSource, TensorNames, names};
use super::decoder::Decoder;
use super::pooling::{EmbeddingHead, Pooling};
use crate::error::Result;
use crate::kernels::{Activation, ActivationFunction, AttentionShape};
use crate::layers::{AttentionWeights, attention, feed_forward};
use crate::plan::{PlanBuilder, VectorPart};

names! {
    WORDS: "token_embd.weight", "embeddings.word_embeddings.weight";
    POSITIONS: "position_embd.weight", "embeddings.position_embeddings.weight";
    TYPES: "token_types.weight", "embeddings.token_type_embeddings.weight";
    EMBEDDING_NORM: "token_embd_norm.weight", "embeddings.LayerNorm.weight";
    Q: "blk.{}.attn_q.weight", "encoder.layer.{}.attention.self.query.weight";
    K: "blk.{}.attn_k.weight", "encoder.layer.{}.attention.self.key.weight";
    V: "blk.{}.attn_v.weight", "encoder.layer.{}.attention.self.value.weight";
    ATTENTION_OUTPUT: "blk.{}.attn_output.weight", "encoder.layer.{}.attention.output.dense.weight";
    ATTENTION_NORM: "blk.{}.attn_output_norm.weight",
        "encoder.layer.{}.attention.output.LayerNorm.weight";
    UP: "blk.{}.ffn_up.weight", "encoder.layer.{}.intermediate.dense.weight";
    DOWN: "blk.{}.ffn_down.weight", "encoder.layer.{}.output.dense.weight";
    OUTPUT_NORM: "blk.{}.layer_output_norm.weight", "encoder.layer.{}.output.LayerNorm.weight";
}

/// Maximum token types: text uses the first of usually two.
const MAX_TYPES: u32 = 1 << 10;

struct Bert {
    decoder: Decoder,
    /// Rows of the table of positions.
    positions: u32,
    /// Rows of the table of token types, if there is one.
    types: Option<u32>,
    function: ActivationFunction,
    head: EmbeddingHead,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    source.check_choice("", "position_embedding_type", &["absolute"])?;
    if source.flag("is_decoder")? == Some(true) {
        return Err(source.unsupported("is_decoder", true, "false"));
    }
    if source.gguf_flag("attention.causal")? == Some(true) {
        return Err(source.unsupported(&source.field("attention.causal", ""), true, "false"));
    }
    source.check_choice("", "hidden_act", &["gelu", "gelu_new", "gelu_pytorch_tanh"])?;
    let function = match source.text("", "hidden_act")? {
        None | Some("gelu") => ActivationFunction::GeluErf,
        Some(_) => ActivationFunction::Gelu,
    };
    let mut decoder = Decoder::read(source, false)?;
    decoder.epsilon = source.epsilon("attention.layer_norm_epsilon", "layer_norm_eps")?;
    decoder.attention.is_causal = false;
    let types = source.matrix_rows(&TYPES.of(source.is_gguf(), 0))?;
    if let Some(types) = types.filter(|types| *types > MAX_TYPES) {
        return Err(source.unsupported("token types", types, &format!("at most {MAX_TYPES}")));
    }
    let positions = source.required_count("context_length", "max_position_embeddings")?;
    let head = EmbeddingHead::read(source, Pooling::Mean)?;
    Ok(Box::new(Bert { decoder, positions, types, function, head }))
}

impl Bert {
    /// Sum of the embeddings of token, position and type, normed.
    fn embed(&self, plan: &mut PlanBuilder<'_, '_>) -> Activation {
        plan.at("embedding");
        let Decoder { is_gguf, hidden, shape, .. } = self.decoder;
        let words =
            plan.resources.weight_matrix(&WORDS.of(is_gguf, 0), shape.vocabulary_size, hidden);
        let table = |plan: &mut PlanBuilder<'_, '_>, names: TensorNames, rows| {
            let part = VectorPart::new(names.of(is_gguf, 0), &[rows, hidden]);
            plan.resources.packed_vector(vec![part])
        };
        let x = plan.embed(words);
        let positions = table(plan, POSITIONS, self.positions);
        let mut x = plan.add_vector(x, positions, hidden);
        if let Some(types) = self.types {
            let types = table(plan, TYPES, types);
            x = plan.add_vector(x, types, 0);
        }
        self.decoder.layer_norm(plan, EMBEDDING_NORM, 0, x)
    }

    fn attention_weights(&self, plan: &mut PlanBuilder<'_, '_>, layer: u32) -> AttentionWeights {
        let decoder = &self.decoder;
        let AttentionShape { head_count, kv_head_count, head_dim, .. } = decoder.attention;
        let (q, kv, hidden) = (head_count * head_dim, kv_head_count * head_dim, decoder.hidden);
        AttentionWeights {
            q: decoder.linear(plan, Q, layer, [q, hidden], Some(1.0)),
            k: decoder.linear(plan, K, layer, [kv, hidden], Some(1.0)),
            v: decoder.linear(plan, V, layer, [kv, hidden], Some(1.0)),
            output: decoder.linear(plan, ATTENTION_OUTPUT, layer, [hidden, q], Some(1.0)),
            norms: None,
        }
    }
}

impl Architecture for Bert {
    fn shape(&self) -> Shape {
        self.decoder.shape
    }

    fn is_encoder(&self) -> bool {
        true
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        let Decoder { hidden, intermediate, attention: shape, .. } = self.decoder;
        let decoder = &self.decoder;
        let mut x = self.embed(plan);
        for layer in 0..decoder.shape.layer_count {
            plan.at(format!("layer {layer}"));
            let weights = self.attention_weights(plan, layer);
            let y = attention(plan, x, &weights, shape, None, layer, context_length);
            let y = plan.add(x, y);
            x = decoder.layer_norm(plan, ATTENTION_NORM, layer, y);
            let up = decoder.linear(plan, UP, layer, [intermediate, hidden], Some(1.0));
            let down = decoder.linear(plan, DOWN, layer, [hidden, intermediate], Some(1.0));
            let y = feed_forward(plan, x, up, down, self.function);
            let y = plan.add(x, y);
            x = decoder.layer_norm(plan, OUTPUT_NORM, layer, y);
        }
        x
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        self.head.append(plan, x)
    }
}
