//! Phi-3, Phi-3.5-mini and Phi-4-mini: Llama's layers; queries, keys and values are one tensor, as
//! are the gate and input of the feed-forward layer, and rotary frequencies have LongRoPE scaling.
//!
//! Reference: Abdin et al. 2024; where the report is silent, `Phi3ForCausalLM` in Hugging Face
//! transformers.

use super::architecture::Architecture;
use super::config::ConfigSource;
use super::llama::Llama;
use crate::error::Result;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let mut model = Llama::read(source)?;
    // llama.cpp ignores the window, for files of its converter state it for models without one.
    if !source.is_gguf() {
        model.window = source.count("", "sliding_window")?.filter(|window| *window > 0);
    }
    Ok(Box::new(model))
}
