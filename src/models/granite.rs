//! Granite 3 and 4, dense: Llama's layers with four multipliers.
//!
//! Reference: IBM 2024; where the report is silent, `GraniteForCausalLM` in Hugging Face
//! transformers.

use super::architecture::Architecture;
use super::config::ConfigSource;
use super::decoder::{Multipliers, optional_biases};
use super::llama::Llama;
use crate::error::Result;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let mut model = Llama::read(source)?;
    model.decoder.biases = optional_biases(source)?;
    model.permute_in_gguf(source);
    model.decoder.multipliers = multipliers(source)?;
    // Without the number, llama.cpp scales scores as for other families, transformers by 1.
    match positive(source, "attention.scale", "attention_multiplier")? {
        Some(scale) => model.decoder.attention.scale = scale,
        None if !source.is_gguf() => model.decoder.attention.scale = 1.0,
        None => {}
    }
    Ok(Box::new(model))
}

/// Reads the multipliers of embedding, residual and logits, which are divided by theirs; 1 if
/// absent.
fn multipliers(source: &ConfigSource<'_>) -> Result<Multipliers> {
    let embedding = positive(source, "embedding_scale", "embedding_multiplier")?;
    let residual = positive(source, "residual_scale", "residual_multiplier")?;
    let logits = positive(source, "logit_scale", "logits_scaling")?;
    Ok(Multipliers {
        embedding: embedding.unwrap_or(1.0),
        residual: residual.unwrap_or(1.0),
        logits: logits.unwrap_or(1.0).recip(),
    })
}

/// Reads a positive number, small and large enough to be divided by.
fn positive(source: &ConfigSource<'_>, gguf: &str, hugging_face: &str) -> Result<Option<f32>> {
    match source.number(gguf, hugging_face)? {
        Some(number) if !(1e-9..=1e9).contains(&number) => {
            let field = source.field(gguf, hugging_face);
            Err(source.malformed(&field, number, "a positive number from 1e-9 to 1e9"))
        }
        found => Ok(found.map(|number| number as f32)),
    }
}
