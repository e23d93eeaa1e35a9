//! ERNIE 4.5, dense: Llama's layers; adjacent elements of a head rotate together, in GGUF as in
//! Hugging Face checkpoints.
//!
//! Reference: Baidu 2025; where the report is silent, `Ernie4_5ForCausalLM` in Hugging Face
//! transformers.

use super::architecture::Architecture;
use super::config::ConfigSource;
use super::decoder::flagged_biases;
use super::llama::Llama;
use crate::error::Result;
use crate::kernels::Pairing;

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let mut model = Llama::read_with(source, true, 500_000.0)?;
    model.decoder.biases = flagged_biases(source, "use_bias", "use_bias")?;
    model.rotary.pairing = Pairing::Adjacent;
    Ok(Box::new(model))
}
