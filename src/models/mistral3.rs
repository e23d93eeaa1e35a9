//! Ministral 3: Llama's layers with YaRN scaling and queries that grow with their position.
//!
//! Reference: `Ministral3ForCausalLM` in Hugging Face transformers.

use super::architecture::Architecture;
use super::config::ConfigSource;
use super::llama::Llama;
use crate::error::Result;
use crate::kernels::PositionScale;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let mut model = Llama::read(source)?;
    model.permute_in_gguf(source);
    model.rotary.query_scale = query_scale(source)?;
    model.window = source.count("attention.sliding_window", "sliding_window")?.filter(|it| *it > 0);
    Ok(Box::new(model))
}

/// Reads the growth of queries and the positions with the same factor.
fn query_scale(source: &ConfigSource<'_>) -> Result<Option<PositionScale>> {
    let field = "rope_parameters.llama_4_scaling_beta";
    let Some(beta) = source.number("attention.temperature_scale", field)? else { return Ok(None) };
    let period = source.required_count(
        "rope.scaling.original_context_length",
        "rope_parameters.original_max_position_embeddings",
    )?;
    Ok(Some(PositionScale { beta: beta as f32, period }))
}
