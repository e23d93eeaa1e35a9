//! EXAONE 4: OLMo's layers with norms of query and key heads. In models with windows, layers
//! without one do not rotate queries and keys.
//!
//! Reference: LG AI Research 2025; where the report is silent, `Exaone4ForCausalLM` in Hugging Face
//! transformers.

use super::architecture::Architecture;
use super::config::ConfigSource;
use super::decoder::{Decoder, NormExtent};
use super::olmo2::{Olmo, PERIOD};
use super::rotary::Rotary;
use super::windows;
use crate::error::Result;

/// Layer count of the 32B model, whose first GGUF files do not state its window.
const LAYERS_32B: u32 = 64;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    source.check_choice("activation_function", "hidden_act", &["silu"])?;
    let mut decoder = Decoder::read(source, false)?;
    decoder.query_key_norms = Some(NormExtent::Head);
    let layer_count = decoder.shape.layer_count;
    let default = (source.is_gguf() && layer_count == LAYERS_32B).then_some(4096);
    let window = source.count("attention.sliding_window", "sliding_window")?.or(default);
    let head_dim = decoder.attention.head_dim;
    let rotary = || Rotary::read(source, head_dim, "rope_parameters", 10_000.0);
    Ok(Box::new(Olmo {
        rotary: if window.is_some_and(|window| window > 0) { None } else { Some(rotary()?) },
        local_rotary: rotary()?,
        windows: windows::read(source, layer_count, PERIOD, default)?,
        decoder,
    }))
}
