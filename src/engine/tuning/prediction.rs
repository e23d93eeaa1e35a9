//! Prediction of a model's speed from measurements: products take time in proportion to the bytes
//! of their weights.

use serde::Serialize;

use super::record::{Measurement, PrefillMeasurement, TuningRecord};
use crate::engine::options::Backend;
use crate::engine::planning::PlannedModel;
use crate::engine::state::StateLayout;
use crate::kernels::MatvecStrategy;

/// Lengths of the prompt and of the answer whose total time is compared, in tokens.
const PROMPT_TOKENS: u32 = 256;
const ANSWER_TOKENS: u32 = 64;
/// Speedup over the faster device alone at which hybrid execution is worth a second copy of the
/// weights.
const MIN_HYBRID_SPEEDUP: f64 = 1.5;

/// Predicted time of a token by one strategy.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct StrategyTime {
    /// Strategy of matrix-vector products.
    pub strategy: MatvecStrategy,
    /// Milliseconds of a token.
    pub token_ms: f64,
}

/// Predicted times of a model.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Prediction {
    /// Milliseconds of a generated token on the GPU.
    pub gpu_token_ms: f64,
    /// Milliseconds of a generated token on the CPU; absent if only the GPU was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub cpu_token_ms: Option<f64>,
    /// Times of a prompt; present if the CPU generates tokens faster, so that prompts decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub prompt: Option<PromptPrediction>,
    /// Times by each strategy, in the order of measurement.
    pub strategies: Vec<StrategyTime>,
    /// True if the measurements are those of an earlier load.
    pub cached: bool,
}

/// Predicted times of a prompt.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PromptPrediction {
    /// Milliseconds of a prompt token on the GPU.
    pub gpu_token_ms: f64,
    /// Milliseconds of a prompt token on the CPU.
    pub cpu_token_ms: f64,
    /// Milliseconds of copying the state from the GPU to the CPU and back, for a prompt of 256
    /// tokens and an answer of 64.
    pub hand_over_ms: f64,
}

impl Prediction {
    /// Predicts the times of a planned model; `None` if no strategy could be measured.
    pub(super) fn new(
        record: &TuningRecord,
        planned: &PlannedModel<'_>,
        cached: bool,
    ) -> Option<Self> {
        let weight_bytes = planned.plans.decode_weight_bytes();
        let token_ms = |ms_per_gb: f64| ms_per_gb * weight_bytes as f64 / 1e9;
        let layout = StateLayout::new(&planned.buffers.resources);
        let handover_bytes = layout.bytes(PROMPT_TOKENS) + layout.bytes(ANSWER_TOKENS);
        let prompt = |measured: PrefillMeasurement| PromptPrediction {
            gpu_token_ms: token_ms(measured.gpu_ms_per_gb),
            cpu_token_ms: token_ms(measured.cpu_ms_per_gb),
            hand_over_ms: measured.handover_ms_per_gb * handover_bytes as f64 / 1e9,
        };
        let strategy = |measured: &Measurement| StrategyTime {
            strategy: measured.strategy,
            token_ms: token_ms(measured.ms_per_gb),
        };
        Some(Self {
            gpu_token_ms: token_ms(record.best()?.ms_per_gb),
            cpu_token_ms: record.cpu_ms_per_gb.map(token_ms),
            prompt: record.prefill.map(prompt),
            strategies: record.measurements.iter().map(strategy).collect(),
            cached,
        })
    }

    /// Milliseconds of a prompt and its answer on the GPU, on the CPU and in hybrid execution;
    /// `None` if prefill was not measured.
    fn answer_ms(&self) -> Option<[f64; 3]> {
        let (prompt, cpu_token_ms) = (self.prompt?, self.cpu_token_ms?);
        let answer_ms = |prompt_token_ms: f64, token_ms: f64| {
            f64::from(PROMPT_TOKENS) * prompt_token_ms + f64::from(ANSWER_TOKENS) * token_ms
        };
        let gpu_ms = answer_ms(prompt.gpu_token_ms, self.gpu_token_ms);
        let cpu_ms = answer_ms(prompt.cpu_token_ms, cpu_token_ms);
        Some([gpu_ms, cpu_ms, answer_ms(prompt.gpu_token_ms, cpu_token_ms) + prompt.hand_over_ms])
    }

    /// The fastest device, and the reason if that is the CPU alone.
    pub(super) fn fastest(&self, adapter: &str) -> (Backend, Option<String>) {
        let reason = |what: String, cpu_ms: f64, gpu_ms: f64| {
            let times = format!("{cpu_ms:.0} ms on the CPU, {gpu_ms:.0} ms on {adapter}");
            (Backend::Cpu, Some(format!("{what} is predicted to take {times}")))
        };
        if let Some([gpu_ms, cpu_ms, hybrid_ms]) = self.answer_ms() {
            return if hybrid_ms * MIN_HYBRID_SPEEDUP < gpu_ms.min(cpu_ms) {
                (Backend::Hybrid, None)
            } else if cpu_ms < gpu_ms {
                let tokens = format!("of {ANSWER_TOKENS} tokens to a prompt of {PROMPT_TOKENS}");
                reason(format!("an answer {tokens}"), cpu_ms, gpu_ms)
            } else {
                (Backend::WebGpu, None)
            };
        }
        match (self.gpu_token_ms, self.cpu_token_ms) {
            (gpu_ms, Some(cpu_ms)) if gpu_ms > cpu_ms => {
                reason("a token".to_owned(), cpu_ms, gpu_ms)
            }
            _ => (Backend::WebGpu, None),
        }
    }
}
