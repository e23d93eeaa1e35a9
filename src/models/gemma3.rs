//! Gemma 3, its text part: Gemma 2's layers with normed queries and keys, five of six layers
//! local with positions of their own.
//!
//! Reference: Gemma Team 2025; the implementation in Hugging Face transformers
//! (`Gemma3ForCausalLM`) decides where the paper is silent.

use super::gemma2::Gemma;
use super::rotary::Rotary;
use super::{Architecture, ConfigSource};
use crate::error::Result;

/// Layers of the 27B, see [`Gemma::read`].
const LARGEST: u32 = 62;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let mut model = Gemma::read(source, LARGEST, "rope_parameters.full_attention", 1_000_000.0)?;
    model.head_norms = true;
    let theta =
        source.spelling(&["rope_parameters.sliding_attention.rope_theta", "rope_local_base_freq"]);
    let theta = source.number("rope.freq_base_swa", theta)?;
    let scaling = "rope_parameters.sliding_attention.rope_type";
    if !source.is_gguf() {
        source.check_choice("", scaling, &["default"])?;
    }
    let rotary =
        Rotary::plain(source, model.decoder.attention.head_dim, theta.unwrap_or(10_000.0))?;
    model.local_rotary = Some(rotary);
    model.see_windows(source, 6, None)?;
    Ok(Box::new(model))
}
