//! Log-probabilities of tokens under a row of logits.

use crate::error::{Error, Result};
use crate::text::{GeneratedLogprob, TokenLogprob, Tokenizer};

/// Most tokens that a request can ask for in place of each generated one.
pub(super) const MAX_TOP_LOGPROBS: u64 = 20;
/// Least log-probability that is reported, as JSON has no infinity.
const LEAST_LOGPROB: f64 = -9999.0;

/// Log-probability of a token under a row of logits.
///
/// # Errors
/// `invalid-request` for a token without a logit.
pub fn log_probability(logits: &[f32], token: u32) -> Result<f64> {
    let Some(logit) = logits.get(token as usize) else {
        return Err(Error::invalid_value("token", token, format!("an id below {}", logits.len())));
    };
    Ok(f64::from(*logit) - log_sum_exp(logits))
}

/// Log-probabilities of a generated token and of the `top` most probable ones; among equal ones
/// the lowest ids come first.
pub(super) fn logprobs(
    logits: &[f32],
    token: u32,
    top: usize,
    tokenizer: &Tokenizer,
) -> GeneratedLogprob {
    let log_sum = log_sum_exp(logits);
    let logit = |id: u32| logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let logprob = |id| {
        let bytes = tokenizer.token_bytes(id, true).into_owned();
        TokenLogprob {
            token: String::from_utf8_lossy(&bytes).into_owned(),
            logprob: (f64::from(logit(id)) - log_sum).max(LEAST_LOGPROB),
            bytes,
            id,
        }
    };
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let by_descending_logit =
        |a: &u32, b: &u32| logit(*b).total_cmp(&logit(*a)).then_with(|| a.cmp(b));
    if (1..ids.len()).contains(&top) {
        ids.select_nth_unstable_by(top - 1, by_descending_logit);
    }
    ids.truncate(top);
    ids.sort_unstable_by(by_descending_logit);
    GeneratedLogprob {
        generated: logprob(token),
        top_logprobs: ids.into_iter().map(logprob).collect(),
    }
}

/// Logarithm of the sum of the exponentials.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    f64::from(largest) + sum.ln()
}
