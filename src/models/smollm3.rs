//! SmolLM3: Llama's layers; some of them, by default every fourth, do not rotate queries and keys.
//!
//! Reference: `SmolLM3ForCausalLM` in Hugging Face transformers.

use super::architecture::Architecture;
use super::config::ConfigSource;
use super::decoder::optional_biases;
use super::llama::Llama;
use super::qwen2::check_no_window;
use crate::error::Result;

/// Every so many layers one has no rotation, unless the configuration says otherwise. GGUF has no
/// key for it.
const INTERVAL: u32 = 4;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    check_no_window(source)?;
    let mut model = Llama::read_with(source, true, 2_000_000.0)?;
    model.decoder.biases = optional_biases(source)?;
    model.permute_in_gguf(source);
    model.without_rotation = without_rotation(source, model.decoder.shape.layer_count)?;
    Ok(Box::new(model))
}

/// Reads which layers have no rotation: those with 0 in `no_rope_layers`.
fn without_rotation(source: &ConfigSource<'_>, layer_count: u32) -> Result<Vec<u32>> {
    if source.has("no_rope_layers") {
        let rotates = source.layer_counts("", "no_rope_layers", layer_count)?;
        return Ok((0..layer_count)
            .zip(rotates)
            .filter(|(_, one)| *one == 0)
            .map(|(i, _)| i)
            .collect());
    }
    let interval = match source.count("", "no_rope_layer_interval")? {
        Some(0) => return Err(source.malformed("no_rope_layer_interval", 0, "at least 1")),
        found => found.unwrap_or(INTERVAL),
    };
    Ok((0..layer_count).filter(|layer| (layer + 1).is_multiple_of(interval)).collect())
}
