//! Qwen2 and Qwen2.5: Llama's layers with biases on queries, keys and values.
//!
//! Reference: Yang et al. 2024; where the paper is silent, `Qwen2ForCausalLM` in Hugging Face
//! transformers.

use super::architecture::Architecture;
use super::config::ConfigSource;
use super::decoder::Biases;
use super::llama::Llama;
use crate::error::Result;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    check_no_window(source)?;
    let mut model = Llama::read(source)?;
    model.decoder.biases = Biases { qkv: Some(1.0), ..Biases::default() };
    Ok(Box::new(model))
}

/// `unsupported-format` for a sliding window, which no published model of the family uses.
pub(super) fn check_no_window(source: &ConfigSource<'_>) -> Result<()> {
    match source.flag("use_sliding_window")? {
        Some(true) => Err(source.unsupported("use_sliding_window", true, "false")),
        _ => Ok(()),
    }
}
