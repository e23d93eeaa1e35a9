//! Reports of a loaded model and of what a model needs, as the command line and the package show them.

use serde::Serialize;

use super::{Memory, PlannedStep, Prediction, Thinking};
use crate::gpu::StepCounters;
use crate::kernels::CacheFormat;

/// What a model runs on.
#[derive(Debug, Clone, Serialize)]
pub struct Device {
    /// `gpu` or `cpu`.
    pub backend: String,
    /// The adapter's name and interface.
    pub adapter: String,
    /// Optional GPU features that the adapter offers.
    pub features: Vec<String>,
    /// Threads that compute, on the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// What was chosen by, if there was a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Prediction>,
}

/// What one decoding step costs besides arithmetic.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StepCost {
    /// Kernels, submissions and bytes read back.
    #[serde(flatten)]
    pub counters: StepCounters,
    /// Bytes of weights read.
    pub weight_bytes: u64,
}

/// A model, as `info` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Info {
    /// The model file's name.
    pub model: String,
    /// The architecture's name.
    pub architecture: String,
    /// Weights of all tensors.
    pub parameters: u64,
    /// Positions there is room for.
    #[serde(rename = "contextLength")]
    pub context_length: u32,
    /// Tokens of the vocabulary.
    #[serde(rename = "vocabularySize")]
    pub vocabulary_size: u32,
    /// Whether it reasons before it answers.
    pub thinking: Thinking,
    /// Whether it can be given tools.
    pub tools: bool,
    /// What it runs on.
    pub device: Device,
    /// Why it does not run on the GPU although that was asked for first.
    #[serde(rename = "fallbackReason", skip_serializing_if = "Option::is_none")]
    pub fallback_reason: Option<String>,
    /// What the files leave open or contradict, and what was taken instead.
    pub warnings: Vec<String>,
    /// Bytes by what they are for.
    pub memory: Memory,
    /// What the last step cost.
    pub step: StepCost,
    /// Pipelines compiled on the GPU.
    pub pipelines: usize,
    /// How keys and values are kept.
    #[serde(rename = "kvFormat")]
    pub kv_format: CacheFormat,
    /// Kernels in use, with the weight format and the variant where there is one.
    pub kernels: Vec<String>,
    /// Milliseconds from the first byte read to ready.
    pub load_ms: f64,
    /// Milliseconds of these that pipelines were waited for, once weights were there.
    pub compile_ms: f64,
}

/// A tensor, as `inspect` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct TensorReport {
    /// Its name in the file.
    pub name: String,
    /// Its weight format.
    pub format: &'static str,
    /// Its shape, outermost first.
    pub shape: Vec<usize>,
    /// Its size in the file.
    pub size_bytes: u64,
}

/// What a model needs, from headers alone.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    /// The architecture's name.
    pub architecture: String,
    /// Weights of all tensors.
    pub parameters: u64,
    /// Positions the figures are for.
    pub context_length: u32,
    /// Positions the model allows.
    pub max_context_length: u32,
    /// Size of the files.
    pub download_bytes: u64,
    /// The largest single buffer on the GPU, in bytes.
    pub largest_buffer_bytes: u64,
    /// Whether the adapter that was looked at allows such buffers; none without an adapter.
    pub fits: Option<bool>,
    /// Why not, where it does not.
    pub misfit: Option<String>,
    /// Every tensor.
    pub tensors: Vec<TensorReport>,
    /// Bytes by what they are for, on the GPU.
    pub memory: Memory,
    /// And on the CPU.
    pub cpu_memory: Memory,
    /// Why the CPU cannot have so many here, if that is known.
    pub cpu_misfit: Option<String>,
    /// What one decoding step takes.
    pub step: PlannedStep,
}
