//! Qwen3, dense: Llama's layers with norms of query and key heads.
//!
//! Reference: Qwen Team 2025; where the report is silent, `Qwen3ForCausalLM` in Hugging Face
//! transformers.

use super::architecture::Architecture;
use super::config::ConfigSource;
use super::decoder::{NormExtent, optional_biases};
use super::llama::Llama;
use super::qwen2::check_no_window;
use crate::error::Result;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    check_no_window(source)?;
    let mut model = Llama::read(source)?;
    model.decoder.biases = optional_biases(source)?;
    model.decoder.query_key_norms = Some(NormExtent::Head);
    Ok(Box::new(model))
}
