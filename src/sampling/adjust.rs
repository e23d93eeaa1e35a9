//! Bias and penalties: from the logits of a model to the logits that a token is sampled from.

use super::keys::{is_finite, key_of};
use super::{LOGIT_BIAS_RANGE, SamplerOptions, SamplingParameters};

/// Bias and occurrences of one token of the vocabulary. On the GPU a `vec2<u32>`, whose `x` holds
/// the bits of the bias.
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Adjustment {
    /// Added to the logit; −∞ bans the token.
    pub bias: f32,
    /// Number of times that the token was generated, plus [`Self::IN_PROMPT`] if it is in the
    /// prompt.
    pub occurrences: u32,
}

impl Adjustment {
    /// Bit of `occurrences` that is set if the prompt holds the token.
    pub const IN_PROMPT: u32 = 1 << 31;

    /// Returns the biases of a request by token id, with no occurrences yet.
    pub(super) fn table(options: &SamplerOptions, vocabulary_size: u32) -> Vec<Self> {
        let mut table = vec![Self::default(); vocabulary_size as usize];
        for &(token, bias) in &options.logit_bias {
            if let Some(adjustment) = table.get_mut(token as usize) {
                let bans = f64::from(bias) == LOGIT_BIAS_RANGE[0];
                let bias = if bans { f32::NEG_INFINITY } else { bias };
                adjustment.bias += bias;
            }
        }
        table
    }

    /// Number of times that the token was generated.
    pub fn generated(&self) -> u32 {
        self.occurrences & !Self::IN_PROMPT
    }
}

impl SamplingParameters {
    /// Applies bias and penalties in place: logit `i` is adjusted by adjustment `i`. Logits that
    /// are infinite or NaN stay as they are; [`SamplingParameters::choose`] reports them.
    ///
    /// Constrained decoding, which is not implemented, would pass a mask of allowed tokens here,
    /// one bit per token, and set the logits of the others to −∞ before the bias is added. Nothing
    /// after this function would change: −∞ is never sampled, and the outcome
    /// [`NothingLeft`](super::Outcome::NothingLeft) reports that no token remains.
    pub fn adjust(&self, logits: &mut [f32], adjustments: &[Adjustment]) {
        if self.has_adjustments == 0 {
            return;
        }
        for (logit, adjustment) in logits.iter_mut().zip(adjustments) {
            *logit = self.adjusted(*logit, *adjustment);
        }
    }

    fn adjusted(&self, logit: f32, adjustment: Adjustment) -> f32 {
        if !is_finite(key_of(logit)) {
            return logit;
        }
        let mut logit = logit + adjustment.bias;
        if adjustment.occurrences != 0 {
            let penalty = self.repetition_penalty;
            logit = if logit > 0.0 { logit / penalty } else { logit * penalty };
            let generated = adjustment.generated();
            if generated > 0 {
                logit -= self.frequency_penalty * generated as f32 + self.presence_penalty;
            }
        }
        logit
    }
}
