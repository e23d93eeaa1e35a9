//! The options of a request that concern sampling. `fields.rs` has their ranges and defaults.

use super::fields::{
    FREQUENCY_PENALTY, LOGIT_BIAS_RANGE, MIN_P, PRESENCE_PENALTY, REPETITION_PENALTY, TEMPERATURE,
    TOP_K, TOP_P, check_range,
};
use crate::error::{Error, Result};

/// Maximum entries of `logit_bias`.
pub const MAX_BIASED_TOKENS: usize = 1024;

/// Sampling options of a request. Ranges are those of the OpenAI API where it has the option.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOptions {
    /// Divisor of the logits before the softmax. 0 is greedy: always the most likely token.
    /// Range and default: [`TEMPERATURE`].
    pub temperature: f32,
    /// Keeps the `top_k` most likely tokens; 0 keeps all. Range and default: [`TOP_K`].
    pub top_k: u32,
    /// Keeps the smallest set of most likely tokens whose probabilities sum to at least `top_p`;
    /// 0 is greedy. Range and default: [`TOP_P`].
    pub top_p: f32,
    /// Keeps tokens at least `min_p` times as likely as the most likely one. Range and
    /// default: [`MIN_P`].
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens in the prompt or the answer
    /// (Keskar et al. 2019, CTRL). Range and default: [`REPETITION_PENALTY`].
    pub repetition_penalty: f32,
    /// Subtracted from a logit once for each time that its token was generated.
    /// Range and default: [`FREQUENCY_PENALTY`].
    pub frequency_penalty: f32,
    /// Subtracted from a logit if its token was generated at all. Range and default:
    /// [`PRESENCE_PENALTY`].
    pub presence_penalty: f32,
    /// Pairs of a token id and a number that is added to its logit; ids beyond the vocabulary are
    /// ignored. At most [`MAX_BIASED_TOKENS`] pairs, each in [`LOGIT_BIAS_RANGE`],
    /// whose lower end bans the token.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the noise of draws, default 0.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: TEMPERATURE.default as f32,
            top_k: TOP_K.default as u32,
            top_p: TOP_P.default as f32,
            min_p: MIN_P.default as f32,
            repetition_penalty: REPETITION_PENALTY.default as f32,
            frequency_penalty: FREQUENCY_PENALTY.default as f32,
            presence_penalty: PRESENCE_PENALTY.default as f32,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl SamplerOptions {
    /// Checks all ranges, for the command line and the package alike. Errors:
    /// `invalid-request`, which names the field.
    pub fn check(&self) -> Result<()> {
        TEMPERATURE.check(self.temperature)?;
        TOP_K.check_integer(self.top_k)?;
        TOP_P.check(self.top_p)?;
        MIN_P.check(self.min_p)?;
        REPETITION_PENALTY.check(self.repetition_penalty)?;
        FREQUENCY_PENALTY.check(self.frequency_penalty)?;
        PRESENCE_PENALTY.check(self.presence_penalty)?;
        if self.logit_bias.len() > MAX_BIASED_TOKENS {
            let found = format!("{} tokens", self.logit_bias.len());
            let expected = format!("at most {MAX_BIASED_TOKENS}");
            return Err(Error::invalid_value("logit_bias", found, expected));
        }
        self.logit_bias.iter().try_for_each(|(token, bias)| {
            let field = format!("logit_bias.{token}");
            check_range(&field, *bias, LOGIT_BIAS_RANGE)
        })
    }

    /// True if sampling always takes the most likely token, without a draw.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 || self.top_p == 0.0
    }
}
