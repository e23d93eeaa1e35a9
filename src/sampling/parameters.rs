//! Sampling parameters in the layout that the GPU reads: the options of a request, resolved.

use super::SamplerOptions;

/// Contents of the storage buffer `sampling`. Mirrored by `SamplingParameters` in
/// `shaders/lib/sampling.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct SamplingParameters {
    /// Divisor of the logits in a draw; 0 takes the greatest logit.
    pub temperature: f32,
    /// Number of greatest logits to keep; 0 keeps all.
    pub top_k: u32,
    /// Probability that the kept tokens must reach together.
    pub top_p: f32,
    /// ln(`min_p`): the distance below the greatest logit within which logits are kept.
    pub log_min_p: f32,
    /// Divisor of positive, factor of negative logits of tokens that occurred.
    pub repetition_penalty: f32,
    /// Subtracted from a logit once for each time that its token was generated.
    pub frequency_penalty: f32,
    /// Subtracted from a logit if its token was generated.
    pub presence_penalty: f32,
    /// 1 if there is a bias or a penalty, else 0: logits stay as they are.
    pub has_adjustments: u32,
    /// 1 if top-k, top-p or min-p may remove tokens, else 0.
    pub has_cuts: u32,
    /// Low 32 bits of the seed.
    pub seed_low: u32,
    /// High 32 bits of the seed.
    pub seed_high: u32,
    /// Tokens that end the answer, padded with [`Self::NO_TOKEN`]. Only the GPU reads them: steps
    /// that were submitted ahead must do nothing after a stop token.
    pub stop_tokens: [u32; SamplingParameters::MAX_STOP_TOKENS],
}

impl SamplingParameters {
    /// Stop tokens that the GPU can recognize.
    pub const MAX_STOP_TOKENS: usize = 32;
    /// Padding of `stop_tokens`; no vocabulary has this id.
    pub const NO_TOKEN: u32 = u32::MAX;
    /// Minimum temperature above 0, so that logit / temperature does not become NaN. A draw at this
    /// temperature takes the greatest logit anyway.
    const MIN_TEMPERATURE: f32 = 1e-20;

    /// Resolves options, which must have passed [`SamplerOptions::check`], for a vocabulary.
    pub fn new(options: &SamplerOptions, vocabulary_size: u32) -> Self {
        let penalties =
            (options.repetition_penalty, options.frequency_penalty, options.presence_penalty);
        let top_k = if options.top_k < vocabulary_size { options.top_k } else { 0 };
        let has_adjustments = penalties != (1.0, 0.0, 0.0) || !options.logit_bias.is_empty();
        let has_cuts = top_k > 0 || options.top_p < 1.0 || options.min_p > 0.0;
        Self {
            temperature: match options.is_greedy() {
                true => 0.0,
                false => options.temperature.max(Self::MIN_TEMPERATURE),
            },
            top_k,
            top_p: options.top_p,
            log_min_p: options.min_p.ln().max(f32::MIN),
            repetition_penalty: options.repetition_penalty,
            frequency_penalty: options.frequency_penalty,
            presence_penalty: options.presence_penalty,
            has_adjustments: has_adjustments.into(),
            has_cuts: has_cuts.into(),
            seed_low: options.seed as u32,
            seed_high: (options.seed >> 32) as u32,
            stop_tokens: [Self::NO_TOKEN; Self::MAX_STOP_TOKENS],
        }
    }

    /// Sets the tokens that end the answer; those after the first
    /// [`Self::MAX_STOP_TOKENS`] are left out.
    pub fn with_stop_tokens(mut self, ids: &[u32]) -> Self {
        self.stop_tokens = [Self::NO_TOKEN; Self::MAX_STOP_TOKENS];
        self.stop_tokens.iter_mut().zip(ids).for_each(|(stop, id)| *stop = *id);
        self
    }

    /// The seed of the noise.
    pub(super) fn seed(&self) -> u64 {
        u64::from(self.seed_high) << 32 | u64::from(self.seed_low)
    }
}
