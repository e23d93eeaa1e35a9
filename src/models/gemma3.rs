//! Gemma 3, text only: Gemma 2's layers with norms of query and key heads; five of six layers use a
//! sliding window and rotary positions of their own.
//!
//! Reference: Gemma Team 2025; where the paper is silent, `Gemma3ForCausalLM` in Hugging Face
//! transformers.

use super::architecture::Architecture;
use super::config::ConfigSource;
use super::decoder::NormExtent;
use super::gemma2::{Gemma, check_causal};
use super::rotary::Rotary;
use super::windows;
use crate::error::Result;

/// Layer count of the 27B model, see [`Gemma::read`].
const LAYERS_27B: u32 = 62;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    check_causal(source)?;
    Ok(Box::new(read_model(source)?))
}

/// Reads the configuration, whatever the direction of attention.
pub(super) fn read_model(source: &ConfigSource<'_>) -> Result<Gemma> {
    let mut model = Gemma::read(source, LAYERS_27B, "rope_parameters.full_attention", 1_000_000.0)?;
    model.decoder.query_key_norms = Some(NormExtent::Head);
    let theta_field =
        source.spelling(&["rope_parameters.sliding_attention.rope_theta", "rope_local_base_freq"]);
    let theta = source.number("rope.freq_base_swa", theta_field)?.unwrap_or(10_000.0);
    if !source.is_gguf() {
        source.check_choice("", "rope_parameters.sliding_attention.rope_type", &["default"])?;
    }
    let head_dim = model.decoder.attention.head_dim;
    model.local_rotary = Some(Rotary::plain(source, head_dim, theta)?);
    model.windows = windows::read(source, model.decoder.shape.layer_count, 6, None)?;
    Ok(model)
}
