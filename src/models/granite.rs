//! Granite 3 and 4, dense: Llama's layers with four multipliers.
//!
//! Reference: IBM 2024; where the report is silent, `GraniteForCausalLM` in Hugging Face
//! transformers.

use super::architecture::Architecture;
use super::config::ConfigSource;
use super::decoder::{Multipliers, optional_biases};
use super::llama::Llama;
use crate::error::Result;
use crate::kernels::AttentionShape;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let mut model = Llama::read(source)?;
    model.decoder.biases = optional_biases(source)?;
    model.permute_in_gguf(source);
    model.decoder.multipliers = multipliers(source)?;
    scale_attention(source, &mut model.decoder.attention)?;
    Ok(Box::new(model))
}

/// Reads the scale of attention scores. Without it, llama.cpp scales scores as for other families,
/// transformers by 1.
pub(super) fn scale_attention(
    source: &ConfigSource<'_>,
    attention: &mut AttentionShape,
) -> Result<()> {
    match source.factor("attention.scale", "attention_multiplier")? {
        Some(scale) => attention.scale = scale,
        None if !source.is_gguf() => attention.scale = 1.0,
        None => {}
    }
    Ok(())
}

/// Reads the multipliers of embedding, residual and logits, which are divided by theirs; 1 if
/// absent.
pub(super) fn multipliers(source: &ConfigSource<'_>) -> Result<Multipliers> {
    let embedding = source.factor("embedding_scale", "embedding_multiplier")?;
    let residual = source.factor("residual_scale", "residual_multiplier")?;
    let logits = source.factor("logit_scale", "logits_scaling")?;
    Ok(Multipliers {
        embedding: embedding.unwrap_or(1.0),
        residual: residual.unwrap_or(1.0),
        logits: logits.unwrap_or(1.0).recip(),
    })
}
