//! What was measured of an adapter, kept from one load to the next as text. The text may be anything by
//! then: what is not a fresh verdict on the same question is measured anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use web_time::{SystemTime, UNIX_EPOCH};

use crate::kernels::Variant;

/// Verdicts that are kept: more than one machine has adapters and models' formats.
const MAX_VERDICTS: usize = 64;
/// Days for which a verdict holds: a machine that was busy then may not be now.
const MAX_DAYS: u64 = 30;
/// What another variant must take at most, of the time of the first, which suits the kind of adapter: less
/// says little on a machine that does other things too.
const CLEARLY_QUICKER: f64 = 0.9;

/// What is to be measured: products of one row by these variants, the first of which suits the kind of
/// adapter; on the CPU too; and a prompt, if a token is quicker there.
pub(super) struct Question {
    pub(super) variants: Vec<Variant>,
    pub(super) of_cpu: bool,
    pub(super) of_prompt: bool,
}

/// What products of one row take by one variant.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Rate {
    pub(super) variant: Variant,
    pub(super) ms_per_gb: f64,
}

/// What a prompt takes on an adapter and on the CPU: products of a chunk, for each of its rows, and the state's
/// way to the CPU.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct PromptRates {
    pub(super) gpu_ms_per_gb: f64,
    pub(super) cpu_ms_per_gb: f64,
    pub(super) state_ms_per_gb: f64,
}

/// What products of one row take on an adapter, by the variants that were tried, and on the CPU if that
/// was asked; and a prompt where that may matter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Verdict {
    day: u64,
    pub(super) rates: Vec<Rate>,
    pub(super) cpu_ms_per_gb: Option<f64>,
    pub(super) prompt: Option<PromptRates>,
}

/// Days since 1970.
fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() / 86_400)
}

impl Verdict {
    /// What was measured today, of the variant that suits the kind of adapter first.
    pub(super) fn new(rates: Vec<Rate>) -> Self {
        Self { day: today(), rates, cpu_ms_per_gb: None, prompt: None }
    }

    /// Whether a token is quicker on the CPU.
    pub(super) fn is_quicker_on_cpu(&self) -> bool {
        let gpu_ms_per_gb = self.chosen().map(|rate| rate.ms_per_gb);
        self.cpu_ms_per_gb.zip(gpu_ms_per_gb).is_some_and(|(cpu, gpu)| cpu < gpu)
    }

    /// The variant to use, if any could be measured.
    pub(super) fn chosen(&self) -> Option<&Rate> {
        let first = self.rates.first()?;
        let quickest = self.rates.iter().min_by(|a, b| a.ms_per_gb.total_cmp(&b.ms_per_gb))?;
        Some(if quickest.ms_per_gb < CLEARLY_QUICKER * first.ms_per_gb { quickest } else { first })
    }

    /// Whether it answers a question, and is no older than it may be.
    fn answers(&self, question: &Question) -> bool {
        let is_fresh = self.day <= today() && today() - self.day <= MAX_DAYS;
        let are_known = self.rates.iter().all(|rate| question.variants.contains(&rate.variant));
        let needs_prompt = question.of_prompt && self.is_quicker_on_cpu();
        let is_whole = !self.rates.is_empty()
            && (self.cpu_ms_per_gb.is_some() || !question.of_cpu)
            && (self.prompt.is_some() || !needs_prompt);
        let prompt = self
            .prompt
            .iter()
            .flat_map(|it| [it.gpu_ms_per_gb, it.cpu_ms_per_gb, it.state_ms_per_gb]);
        let times = self.rates.iter().map(|rate| rate.ms_per_gb);
        let mut times = times.chain(self.cpu_ms_per_gb).chain(prompt);
        is_fresh && are_known && is_whole && times.all(|ms| ms >= 0.0)
    }
}

/// The verdict that a text holds under a key, if it answers the question.
pub(super) fn find(text: &str, key: &str, question: &Question) -> Option<Verdict> {
    let verdict = all(text).remove(key)?;
    let verdict: Verdict = serde_json::from_value(verdict).ok()?;
    verdict.answers(question).then_some(verdict)
}

/// The text with a verdict more.
pub(super) fn with(text: &str, key: String, verdict: &Verdict) -> Option<String> {
    let mut all = all(text);
    if all.len() >= MAX_VERDICTS {
        all.clear();
    }
    all.insert(key, serde_json::to_value(verdict).ok()?);
    serde_json::to_string(&all).ok()
}

fn all(text: &str) -> BTreeMap<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}
