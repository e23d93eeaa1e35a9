//! The choice of the next token from its logits.
//!
//! In this order, as llama.cpp and Hugging Face do it: the caller's bias; repetition, frequency
//! and presence penalties over the tokens so far; temperature 0 takes the best and is done; then
//! top-k, top-p and min-p on the distribution before temperature, temperature, and a draw.
//! A draw takes the greatest of logit / temperature plus noise, which follows from seed, position and
//! token: a seed gives the same tokens on every platform, and rounding moves a choice only where two
//! tokens are as good.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::error::{Code, Error, Result};
use crate::noise::gumbel;

/// Most tokens of a bias.
const MAX_BIASES: usize = 1024;

/// How a token is chosen. Ranges are OpenAI's where OpenAI has them.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOptions {
    /// 0 takes the most likely token; higher is more varied. 0 to 2, default 1.
    pub temperature: f32,
    /// Only the so many most likely tokens; 0, the default, for all. At most 2^31 - 1.
    pub top_k: u32,
    /// Only the most likely tokens that reach this probability together; 0 takes the most likely one. 0 to 1,
    /// default 1.
    pub top_p: f32,
    /// Only tokens at least this fraction as likely as the most likely. 0 to 1, default 0.
    pub min_p: f32,
    /// Divides the logits of tokens that occurred when positive, multiplies them when negative.
    /// 0.01 to 10, default 1.
    pub repetition_penalty: f32,
    /// Taken off a logit for each time its token was generated. -2 to 2, default 0.
    pub frequency_penalty: f32,
    /// Taken off a logit once if its token was generated. -2 to 2, default 0.
    pub presence_penalty: f32,
    /// Added to the logits of at most 1024 single tokens. Each -100 to 100, where -100 means never.
    pub logit_bias: Vec<(u32, f32)>,
    /// Which noise draws are made with, default 0.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl SamplerOptions {
    /// Checks the ranges, for every way in which a request comes; `invalid-request` names the field.
    pub fn check(&self) -> Result<()> {
        let ranges = [
            ("temperature", self.temperature, 0.0..=2.0),
            ("top_p", self.top_p, 0.0..=1.0),
            ("min_p", self.min_p, 0.0..=1.0),
            ("repetition_penalty", self.repetition_penalty, 0.01..=10.0),
            ("frequency_penalty", self.frequency_penalty, -2.0..=2.0),
            ("presence_penalty", self.presence_penalty, -2.0..=2.0),
        ];
        for (field, value, range) in ranges {
            in_range(field, value, range)?;
        }
        if self.top_k > i32::MAX.cast_unsigned() {
            let message = format!("found {}, expected 0 to {}", self.top_k, i32::MAX);
            return Err(Error::invalid_request("top_k", message));
        }
        if self.logit_bias.len() > MAX_BIASES {
            let message =
                format!("found {} tokens, expected at most {MAX_BIASES}", self.logit_bias.len());
            return Err(Error::invalid_request("logit_bias", message));
        }
        let mut biases = self.logit_bias.iter();
        biases.try_for_each(|(token, bias)| {
            in_range(&format!("logit_bias.{token}"), *bias, -100.0..=100.0)
        })
    }

    /// Whether the most likely token is taken, without a draw.
    pub fn takes_best(&self) -> bool {
        self.temperature == 0.0 || self.top_p == 0.0
    }
}

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// Its id.
    pub token: u32,
    /// Its log-probability by the model itself: before bias, penalties and temperature.
    pub logprob: f32,
}

/// How often a token occurred.
#[derive(Debug, Clone, Copy, Default)]
struct Occurrences {
    prompt: bool,
    generated: u32,
}

/// Chooses tokens, and remembers the ones so far.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplerOptions,
    seen: HashMap<u32, Occurrences>,
    /// Logits after bias and penalties, kept between calls.
    adjusted: Vec<f32>,
    /// The tokens that may be drawn, kept between calls.
    candidates: Vec<(u32, f32)>,
}

impl Sampler {
    /// A sampler; a value outside its range is `invalid-request`, naming the field.
    pub fn new(options: SamplerOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { options, seen: HashMap::new(), adjusted: Vec::new(), candidates: Vec::new() })
    }

    /// Remembers the tokens of a prompt, for the repetition penalty.
    pub fn accept_prompt(&mut self, tokens: &[u32]) {
        for &token in tokens {
            self.seen.entry(token).or_default().prompt = true;
        }
    }

    /// Remembers a generated token, for the penalties.
    pub fn accept(&mut self, token: u32) {
        let seen = self.seen.entry(token).or_default();
        seen.generated = seen.generated.saturating_add(1);
    }

    /// Chooses the token of a position from one logit per id. Of equal ones the lowest id comes
    /// first. A logit of -infinity is never chosen; `malformed` when one is not a number or
    /// +infinity, or when none can be chosen. The token is not remembered: see [`Sampler::accept`].
    pub fn sample(&mut self, logits: &[f32], position: u32) -> Result<Sampled> {
        let greatest = greatest(logits)?;
        self.adjust(logits);
        let token = if self.options.takes_best() { self.best()? } else { self.draw(position)? };
        let logit = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        let logprob = f64::from(logit) - log_sum_exp(logits, greatest);
        Ok(Sampled { token, logprob: logprob as f32 })
    }

    /// Bias and penalties.
    fn adjust(&mut self, logits: &[f32]) {
        self.adjusted.clear();
        self.adjusted.extend_from_slice(logits);
        for &(token, bias) in &self.options.logit_bias {
            if let Some(logit) = self.adjusted.get_mut(token as usize) {
                *logit = if bias == -100.0 { f32::NEG_INFINITY } else { *logit + bias };
            }
        }
        let SamplerOptions { repetition_penalty, frequency_penalty, presence_penalty, .. } =
            self.options;
        if (repetition_penalty, frequency_penalty, presence_penalty) == (1.0, 0.0, 0.0) {
            return;
        }
        for (&token, seen) in &self.seen {
            let Some(logit) = self.adjusted.get_mut(token as usize) else { continue };
            *logit = if *logit > 0.0 {
                *logit / repetition_penalty
            } else {
                *logit * repetition_penalty
            };
            if seen.generated > 0 {
                *logit -= frequency_penalty * seen.generated as f32 + presence_penalty;
            }
        }
    }

    /// The token with the greatest adjusted logit.
    fn best(&self) -> Result<u32> {
        let mut best = (0, f32::NEG_INFINITY);
        for (&logit, token) in self.adjusted.iter().zip(0..) {
            if logit > best.1 {
                best = (token, logit);
            }
        }
        if best.1 == f32::NEG_INFINITY { Err(nothing_left()) } else { Ok(best.0) }
    }

    /// Cuts the distribution and draws from what is left.
    fn draw(&mut self, position: u32) -> Result<u32> {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let possible = (0..).zip(&self.adjusted).filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        candidates.extend(possible.map(|(token, &logit)| (token, logit)));
        self.cut(&mut candidates);
        let token = self.pick(&candidates, position);
        self.candidates = candidates;
        token.ok_or_else(nothing_left)
    }

    /// Top-k, top-p and min-p, which leave the most likely token in any case.
    fn cut(&self, candidates: &mut Vec<(u32, f32)>) {
        let SamplerOptions { top_k, top_p, min_p, .. } = self.options;
        // Falling logits, and rising ids among equals.
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let top_k = top_k as usize;
        if top_k > 0 && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, order);
            candidates.truncate(top_k);
        }
        if min_p > 0.0 || top_p < 1.0 {
            let greatest =
                candidates.iter().fold(f32::NEG_INFINITY, |greatest, entry| greatest.max(entry.1));
            if top_p < 1.0 {
                cut_to_mass(candidates, top_p, greatest, order);
            }
            if min_p > 0.0 {
                let least = greatest + min_p.ln();
                candidates.retain(|entry| entry.1 >= least);
            }
        }
    }

    /// One of the candidates, by the softmax of their logits over the temperature.
    fn pick(&self, candidates: &[(u32, f32)], position: u32) -> Option<u32> {
        let greatest =
            candidates.iter().fold(f32::NEG_INFINITY, |greatest, entry| greatest.max(entry.1));
        let temperature = f64::from(self.options.temperature);
        let drawn = candidates.iter().map(|&(token, logit)| {
            let noise = gumbel(self.options.seed, position, token);
            (f64::from(logit - greatest) / temperature + noise, token)
        });
        drawn.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))).map(|(_, token)| token)
    }
}

/// Keeps the most likely candidates until their probability reaches `mass`.
fn cut_to_mass(
    candidates: &mut Vec<(u32, f32)>,
    mass: f32,
    greatest: f32,
    order: impl Fn(&(u32, f32), &(u32, f32)) -> std::cmp::Ordering,
) {
    let weight = |entry: &(u32, f32)| f64::from(entry.1 - greatest).exp();
    let wanted = f64::from(mass) * candidates.iter().map(weight).sum::<f64>();
    // Mostly a few tokens are enough: sort a part that grows only as long as it has to.
    let mut part = 64.min(candidates.len());
    loop {
        if part < candidates.len() && part > 0 {
            candidates.select_nth_unstable_by(part - 1, &order);
        }
        let Some(head) = candidates.get_mut(..part) else { return };
        head.sort_unstable_by(&order);
        let mut reached = 0.0;
        let enough = head.iter().position(|entry| {
            reached += weight(entry);
            reached >= wanted
        });
        if let Some(last) = enough {
            candidates.truncate(last + 1);
            return;
        }
        if part == candidates.len() {
            return;
        }
        part = (part * 8).min(candidates.len());
    }
}

fn in_range(field: &str, value: f32, range: RangeInclusive<f32>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(Error::invalid_request(field, format!("found {value}, expected {least} to {most}")))
}

/// The error where a model, or the bias of a request, leaves no token.
pub fn nothing_left() -> Error {
    no_numbers("every logit is -infinity, expected at least one that can be chosen")
}

/// The error where a logit of a model is none.
pub fn bad_logit(token: impl Display) -> Error {
    no_numbers(format!("logit {token} is infinite or no number, expected a finite number"))
}

/// What weights of a file give is not this engine's doing.
fn no_numbers(message: impl Display) -> Error {
    Error::new(Code::Malformed, format!("model: {message}"))
}

/// The greatest logit; `malformed` if one is no number, or none is finite.
fn greatest(logits: &[f32]) -> Result<f32> {
    let mut greatest = f32::NEG_INFINITY;
    for (token, &logit) in logits.iter().enumerate() {
        if logit.is_nan() || logit == f32::INFINITY {
            return Err(bad_logit(token));
        }
        greatest = greatest.max(logit);
    }
    if greatest == f32::NEG_INFINITY { Err(nothing_left()) } else { Ok(greatest) }
}

/// The logarithm of the sum of exponentials.
fn log_sum_exp(logits: &[f32], greatest: f32) -> f64 {
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - greatest).exp()).sum();
    f64::from(greatest) + sum.ln()
}
