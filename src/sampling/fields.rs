//! Numeric sampling options: effect, range and default of each, stated once. The sampler's checks,
//! the reader of requests, the help of the command line and the TypeScript types follow from them.

use std::fmt;

use crate::error::{Error, Result};

/// A numeric option of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberField {
    /// Name in requests; on the command line with dashes for underscores.
    pub name: &'static str,
    /// Effect of the option, as a sentence without its final period.
    pub effect: &'static str,
    /// Smallest accepted value.
    pub min: f64,
    /// Largest accepted value.
    pub max: f64,
    /// Value where a request names none.
    pub default: f64,
}

/// Randomness of the draw.
pub const TEMPERATURE: NumberField = NumberField {
    name: "temperature",
    effect: "Divides the logits before the draw; 0 always takes the most likely token",
    min: 0.0,
    max: 2.0,
    default: 1.0,
};

/// Cut to a number of tokens.
pub const TOP_K: NumberField = NumberField {
    name: "top_k",
    effect: "Draws from this many of the most likely tokens; 0 draws from all. An integer",
    min: 0.0,
    max: i32::MAX as f64,
    default: 0.0,
};

/// Cut to a probability mass.
pub const TOP_P: NumberField = NumberField {
    name: "top_p",
    effect: "Draws from the most likely tokens whose probabilities sum to this; 0 always takes the \
             most likely token",
    min: 0.0,
    max: 1.0,
    default: 1.0,
};

/// Cut by probability relative to the most likely token's.
pub const MIN_P: NumberField = NumberField {
    name: "min_p",
    effect: "Draws from tokens at least this probable, relative to the most likely token",
    min: 0.0,
    max: 1.0,
    default: 0.0,
};

/// Multiplicative penalty of tokens of the prompt and of the answer.
pub const REPETITION_PENALTY: NumberField = NumberField {
    name: "repetition_penalty",
    effect: "Divides positive logits and multiplies negative logits of tokens that occurred in the \
             prompt or the answer",
    min: 0.01,
    max: 10.0,
    default: 1.0,
};

/// Additive penalty by the number of occurrences in the answer.
pub const FREQUENCY_PENALTY: NumberField = NumberField {
    name: "frequency_penalty",
    effect: "Subtracted from a token's logit for each time that the answer has it",
    min: -2.0,
    max: 2.0,
    default: 0.0,
};

/// Additive penalty of tokens that the answer has.
pub const PRESENCE_PENALTY: NumberField = NumberField {
    name: "presence_penalty",
    effect: "Subtracted from a token's logit once if the answer has it",
    min: -2.0,
    max: 2.0,
    default: 0.0,
};

/// Every numeric sampling option, in the order of the documentation.
pub const NUMBER_FIELDS: [NumberField; 7] =
    [TEMPERATURE, TOP_K, TOP_P, MIN_P, REPETITION_PENALTY, FREQUENCY_PENALTY, PRESENCE_PENALTY];

/// Smallest and largest number that a request's `logit_bias` adds to a token's logit.
pub const LOGIT_BIAS_RANGE: [f64; 2] = [-100.0, 100.0];

impl NumberField {
    /// Checks a number; `invalid-request` names the field, the value and the range.
    pub fn check(&self, value: f32) -> Result<()> {
        check_range(self.name, value, [self.min, self.max])
    }

    /// Checks an integer; `invalid-request` names the field, the value and the range.
    pub fn check_integer(&self, value: u32) -> Result<()> {
        if (self.min..=self.max).contains(&f64::from(value)) {
            return Ok(());
        }
        Err(Error::invalid_value(self.name, value, format!("{} to {}", self.min, self.max)))
    }
}

/// Documentation of the option: effect, range and default.
impl fmt::Display for NumberField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { effect, min, max, default, .. } = self;
        write!(f, "{effect}. {min} to {max}, default {default}.")
    }
}

/// Checks a number against a range; `invalid-request` names the field, the value and the range.
pub(super) fn check_range(field: &str, value: f32, [min, max]: [f64; 2]) -> Result<()> {
    if (min as f32..=max as f32).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid_value(field, value, format!("{min} to {max}")))
}
