//! Sampling: from one row of logits to the next token, on the host and as the GPU's reference.
//!
//! This is the only implementation in Rust. [`Sampler`] runs it where the host samples; the CPU
//! references of the kernels `adjust_logits` and `sample` call the same functions, so that the
//! tests which compare a kernel with its reference compare the GPU with the host's sampler. The
//! WGSL counterparts are `shaders/adjust_logits.wgsl`, `shaders/sample.wgsl`,
//! `shaders/lib/sampling.wgsl` and `shaders/lib/noise.wgsl`.
//!
//! The order of the steps is that of llama.cpp and Hugging Face Transformers:
//!
//! 1. [`adjust`]: logit bias, then repetition, frequency and presence penalties;
//! 2. at temperature 0 the greatest logit, and among equal logits the lowest id;
//! 3. otherwise [`choose`]: top-k, top-p and min-p, each on the distribution before temperature;
//!    then a draw by the Gumbel-max trick: the greatest of logit / temperature + [`noise`].
//!
//! The noise is a function of seed, position and token id. A seed therefore gives the same tokens
//! on every platform, and rounding changes a draw only where two scores are nearly equal.
//!
//! Masks of allowed tokens (constrained decoding, not implemented) would belong in step 1, before
//! the bias: see [`SamplingParameters::adjust`] for the host and `adjusted` in
//! `shaders/adjust_logits.wgsl` for the GPU.

mod adjust;
mod choose;
mod fields;
mod keys;
mod noise;
mod options;
mod parameters;
mod sampler;

pub use adjust::Adjustment;
pub use choose::{Candidate, Outcome};
pub use fields::{
    FREQUENCY_PENALTY, LOGIT_BIAS_RANGE, MIN_P, NUMBER_FIELDS, NumberField, PRESENCE_PENALTY,
    REPETITION_PENALTY, TEMPERATURE, TOP_K, TOP_P,
};
pub use noise::gumbel;
pub use options::{MAX_BIASED_TOKENS, SamplerOptions};
pub use parameters::SamplingParameters;
pub use sampler::Sampler;
