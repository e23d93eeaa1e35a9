//! The sampler of a request, for steps whose logits come to the host.

use super::{Adjustment, Candidate, SamplerOptions, SamplingParameters};
use crate::error::Result;

/// Samples tokens and counts those of the sequence, for the penalties.
///
/// A request has a sampler even where the GPU samples: its parameters and adjustments are uploaded.
#[derive(Debug, Clone)]
pub struct Sampler {
    parameters: SamplingParameters,
    /// One per token of the vocabulary; none if the request has neither bias nor penalties.
    adjustments: Vec<Adjustment>,
    /// Adjusted logits, reused from step to step.
    adjusted: Vec<f32>,
    /// Scratch memory, reused from step to step.
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// Returns a sampler for logits of `vocabulary_size` tokens. Errors: `invalid-request` for an
    /// option out of its range.
    pub fn new(options: &SamplerOptions, vocabulary_size: u32) -> Result<Self> {
        options.check()?;
        let parameters = SamplingParameters::new(options, vocabulary_size);
        let adjustments = match parameters.has_adjustments {
            0 => Vec::new(),
            _ => Adjustment::table(options, vocabulary_size),
        };
        Ok(Self { parameters, adjustments, adjusted: Vec::new(), candidates: Vec::new() })
    }

    /// Marks the tokens of a prompt, for the repetition penalty.
    pub fn accept_prompt(&mut self, tokens: &[u32]) {
        for token in tokens {
            if let Some(adjustment) = self.adjustments.get_mut(*token as usize) {
                adjustment.occurrences |= Adjustment::IN_PROMPT;
            }
        }
    }

    /// Counts a generated token, for the penalties.
    pub fn accept(&mut self, token: u32) {
        if let Some(adjustment) = self.adjustments.get_mut(token as usize) {
            adjustment.occurrences += 1;
        }
    }

    /// Samples the token at `position` of the sequence from one logit per id; among equal scores
    /// the lowest id wins, and −∞ is never sampled. Does not count the token: see
    /// [`Sampler::accept`].
    /// Errors: `malformed` if a logit is +∞ or NaN, or if no token can be sampled.
    pub fn sample(&mut self, logits: &[f32], position: u32) -> Result<u32> {
        let Self { parameters, adjustments, adjusted, candidates } = self;
        let mut logits = logits;
        if parameters.has_adjustments != 0 {
            adjusted.clear();
            adjusted.extend_from_slice(logits);
            parameters.adjust(adjusted, adjustments);
            logits = adjusted;
        }
        parameters.choose(logits, position, candidates).token()
    }

    /// Parameters of the request, without stop tokens.
    pub fn parameters(&self) -> SamplingParameters {
        self.parameters
    }

    /// Bias and occurrences of every token; empty if the request has neither bias nor penalties.
    pub fn adjustments(&self) -> &[Adjustment] {
        &self.adjustments
    }
}
