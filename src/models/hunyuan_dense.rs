//! Hunyuan, dense: Llama's layers with norms of query and key heads after their rotation, whose
//! base frequency a factor raises.
//!
//! Reference: `HunYuanDenseV1ForCausalLM` in Hugging Face transformers.

use super::architecture::Architecture;
use super::config::{ConfigSource, names};
use super::decoder::{NormExtent, optional_biases};
use super::llama::Llama;
use crate::error::Result;

names! {
    Q_NORM: "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.query_layernorm.weight";
    K_NORM: "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.key_layernorm.weight";
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let mut model = Llama::read(source)?;
    let decoder = &mut model.decoder;
    decoder.biases = optional_biases(source)?;
    decoder.query_key_norms = Some(NormExtent::RotatedHead);
    (decoder.names.q_norm, decoder.names.k_norm) = (Q_NORM, K_NORM);
    Ok(Box::new(model))
}
