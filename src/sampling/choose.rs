//! Choice of a token from adjusted logits: the greatest, or a draw after top-k, top-p and min-p.

use std::cmp::{Ordering, Reverse};

use super::keys::{INFINITY_KEY, MINUS_INFINITY_KEY, is_finite, key_of, number_of};
use super::{SamplingParameters, gumbel};
use crate::error::{Code, Error, Result};

/// A token that may be drawn: the key of its logit and its id.
pub type Candidate = (u32, u32);

/// The outcome of sampling from one row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The sampled token.
    Token(u32),
    /// The logit of this token is +∞ or NaN.
    BadLogit(u32),
    /// Every logit is −∞: the model or the request bans all tokens.
    NothingLeft,
}

impl Outcome {
    /// Returns the token. Errors: `malformed`, because it is the weights of a model that yield
    /// such logits.
    pub fn token(self) -> Result<u32> {
        let message = match self {
            Outcome::Token(token) => return Ok(token),
            Outcome::BadLogit(token) => {
                format!("model: logits[{token}]: found infinity or NaN, expected a finite number")
            }
            Outcome::NothingLeft => {
                let found = "model: logits: found -infinity for every token";
                format!("{found}, expected at least one token that can be sampled")
            }
        };
        Err(Error::new(Code::Malformed, message))
    }
}

impl SamplingParameters {
    /// Chooses the token at `position` of the sequence from one adjusted logit per id; among equal
    /// scores the lowest id wins. `candidates` is scratch memory.
    pub fn choose(
        &self,
        logits: &[f32],
        position: u32,
        candidates: &mut Vec<Candidate>,
    ) -> Outcome {
        let scores =
            (0..).zip(logits).map(|(id, logit)| (self.score_key(*logit, position, id), id));
        let (key, token) = greatest(scores).unwrap_or((MINUS_INFINITY_KEY, 0));
        if key >= INFINITY_KEY {
            Outcome::BadLogit(token)
        } else if key <= MINUS_INFINITY_KEY {
            Outcome::NothingLeft
        } else if self.temperature > 0.0 && self.has_cuts != 0 {
            let keys = (0..).zip(logits).map(|(id, logit)| (key_of(*logit), id));
            candidates.clear();
            candidates.extend(keys.filter(|(key, _)| *key > MINUS_INFINITY_KEY));
            self.cut(candidates, number_of(key));
            let scores = candidates.iter();
            let scores =
                scores.map(|(key, id)| (self.draw_key(number_of(*key), position, *id), *id));
            Outcome::Token(greatest(scores).map_or(token, |(_, drawn)| drawn))
        } else {
            Outcome::Token(token)
        }
    }

    /// Returns the key of a token's score: its logit, or in a draw without cuts the score of
    /// [`Self::draw_key`]. On the GPU, the kernel that computes the logits also stores the greatest
    /// of these keys for every four tokens.
    pub(crate) fn score_key(&self, logit: f32, position: u32, id: u32) -> u32 {
        let is_draw = self.temperature > 0.0 && self.has_cuts == 0;
        if is_draw { self.draw_key(logit, position, id) } else { key_of(logit) }
    }

    /// Returns the key of logit / temperature + noise; the token with the greatest key is a draw
    /// from softmax(logits / temperature). Computed in `f32`, as in the shader.
    fn draw_key(&self, logit: f32, position: u32, id: u32) -> u32 {
        let key = key_of(logit);
        if !is_finite(key) {
            return key;
        }
        // Keeps the quotient finite at any temperature.
        let bound = 1e36 * self.temperature;
        let noise = gumbel(self.seed(), position, id) as f32;
        key_of(logit.clamp(-bound, bound) / self.temperature + noise)
    }

    /// Applies top-k, top-p and min-p, which never remove the most likely token. `greatest` is the
    /// greatest logit. Leaves the candidates in no particular order.
    fn cut(&self, candidates: &mut Vec<Candidate>, greatest: f32) {
        let top_k = self.top_k as usize;
        if top_k > 0 && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, by_descending_key);
            candidates.truncate(top_k);
        }
        if self.top_p < 1.0 {
            cut_to_mass(candidates, self.top_p, greatest);
        }
        let least = key_of(greatest + self.log_min_p);
        candidates.retain(|(key, _)| *key >= least);
    }
}

/// Orders candidates by descending key, and by ascending id among equal keys.
fn by_descending_key(a: &Candidate, b: &Candidate) -> Ordering {
    (b.0, a.1).cmp(&(a.0, b.1))
}

/// Returns the candidate with the greatest key; among equal keys the lowest id wins.
fn greatest(candidates: impl Iterator<Item = Candidate>) -> Option<Candidate> {
    candidates.max_by_key(|(key, id)| (*key, Reverse(*id)))
}

/// Keeps the most likely candidates until the sum of their weights reaches `mass` of the total.
/// The weight of a candidate is exp(logit − `greatest`).
fn cut_to_mass(candidates: &mut Vec<Candidate>, mass: f32, greatest: f32) {
    let weight = |(key, _): &Candidate| f64::from(number_of(*key) - greatest).exp();
    let wanted = f64::from(mass) * candidates.iter().map(weight).sum::<f64>();
    // A few tokens mostly suffice: sorts only the most likely ones, and more while too few.
    let mut sorted = 64.min(candidates.len());
    loop {
        if sorted < candidates.len() && sorted > 0 {
            candidates.select_nth_unstable_by(sorted - 1, by_descending_key);
        }
        let Some(head) = candidates.get_mut(..sorted) else { return };
        head.sort_unstable_by(by_descending_key);
        let mut reached = 0.0;
        let last = head.iter().position(|candidate| {
            reached += weight(candidate);
            reached >= wanted
        });
        if let Some(last) = last {
            candidates.truncate(last + 1);
            return;
        }
        if sorted == candidates.len() {
            return;
        }
        sorted = (sorted * 8).min(candidates.len());
    }
}
