//! Reports: a loaded model, the memory and download that a model needs, and the available GPU.
//!
//! The command line prints them with keys in snake case; the JavaScript boundary turns the keys
//! into camel case ([`camel_case_keys`]). `pkg/src/generated/reports.ts` declares them for
//! TypeScript.

use serde::Serialize;
use serde_json::Value;

use super::memory::Memory;
use super::model_text::Thinking;
use super::planning::PlannedStep;
use super::tuning::Prediction;
use crate::gpu::{AdapterReport, StepCounters};
use crate::kernels::CacheFormat;

/// Processor that a model runs on.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "DeviceInfo"))]
pub struct Device {
    /// Device in use: `webgpu`, `cpu`, or `hybrid`, where the GPU reads prompts and the CPU
    /// generates.
    #[cfg_attr(feature = "typescript", ts(type = "Exclude<DeviceChoice, \"auto\">"))]
    pub backend: String,
    /// Name of the adapter and the interface to it, or of the CPU's instructions in use.
    pub adapter: String,
    /// Optional WebGPU features of the adapter; none on the CPU.
    pub features: Vec<String>,
    /// Number of threads that compute on the CPU; absent on the GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub threads: Option<usize>,
    /// Predicted times by which the device was chosen; absent where there was no choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub predicted: Option<Prediction>,
}

/// Cost of the last decoding step on the GPU besides arithmetic; zeros on the CPU.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "StepInfo"))]
pub struct StepCost {
    /// Counts of the host's calls to the GPU.
    #[serde(flatten)]
    pub counters: StepCounters,
    /// Bytes of weights that a step of one token reads.
    pub weight_bytes: u64,
}

/// Report of a loaded model.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "EngineInfo"))]
pub struct Info {
    /// Name of the model's file or folder.
    pub name: String,
    /// Name of the architecture, as GGUF files spell it.
    pub architecture: String,
    /// Number of weights in all tensors.
    pub parameters: u64,
    /// Positions that the KV cache has room for.
    pub context_length: u32,
    /// Number of tokens in the vocabulary.
    pub vocabulary_size: u32,
    /// Reasoning before answers; `optional` models follow `reasoning_effort`.
    pub thinking: Thinking,
    /// True if the chat template accepts tools.
    pub tools: bool,
    /// Device in use.
    pub device: Device,
    /// Reason why the model runs on the CPU although the options allow a GPU; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub fallback_reason: Option<String>,
    /// Contradictions and gaps in the model's files, and the assumption made for each.
    pub warnings: Vec<String>,
    /// Bytes in use, by purpose.
    pub memory: Memory,
    /// Cost of the last decoding step.
    pub step: StepCost,
    /// Number of compute pipelines that were compiled.
    pub pipelines: usize,
    /// Format of the KV cache.
    pub kv_format: CacheFormat,
    /// Kernels in use, each with the weight format and the strategy or tiling where it has one.
    pub kernels: Vec<String>,
    /// Milliseconds from the first byte read to readiness.
    pub load_ms: f64,
    /// Milliseconds of `load_ms` spent waiting for pipelines after the last weight was read.
    pub compile_ms: f64,
}

/// Report of a tensor.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "TensorInfo"))]
pub struct TensorReport {
    /// Name in the file.
    pub name: String,
    /// Name of the weight format.
    pub format: &'static str,
    /// Sizes of the dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Bytes in the file.
    pub size_bytes: u64,
}

/// Estimate of the memory and the download of a model, from its headers alone.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "EngineEstimate"))]
pub struct Estimate {
    /// Name of the architecture, as GGUF files spell it.
    pub architecture: String,
    /// Number of weights in all tensors.
    pub parameters: u64,
    /// Context length that the figures are for, in positions.
    pub context_length: u32,
    /// Longest context that the model supports, in positions.
    pub max_context_length: u32,
    /// Bytes of the files. In JavaScript, those that a load would download now: 0 for a stored
    /// model.
    pub download_bytes: u64,
    /// Bytes of the largest single GPU buffer.
    pub largest_buffer_bytes: u64,
    /// True if the adapter allows such buffers; `null` without an adapter.
    pub fits: Option<bool>,
    /// Reason why the GPU cannot hold the model, and the context length that would fit.
    pub misfit: Option<String>,
    /// Every tensor of the files.
    pub tensors: Vec<TensorReport>,
    /// Bytes on the GPU, by purpose.
    pub memory: Memory,
    /// Bytes on the CPU, by purpose.
    pub cpu_memory: Memory,
    /// Reason why the CPU cannot hold the model, and the context length that would fit.
    pub cpu_misfit: Option<String>,
    /// Cost of one decoding step.
    pub step: PlannedStep,
}

/// Report of the available GPU.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct GpuCapabilities {
    /// True if there is a usable adapter.
    pub webgpu: bool,
    /// The adapter, or `null`.
    pub adapter: Option<AdapterReport>,
    /// Reason why there is no usable adapter; absent where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub reason: Option<String>,
}

/// Converts the keys of all objects in `value` from snake case to camel case, as JavaScript spells
/// them.
pub fn camel_case_keys(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(camel_case_keys).collect(),
        Value::Object(fields) => {
            let renamed = fields.into_iter();
            renamed.map(|(key, value)| (camel_case(&key), camel_case_keys(value))).collect()
        }
        other => other,
    }
}

/// Converts a name from snake case to camel case.
pub fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut rest = word.chars();
        camel.extend(rest.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(rest.as_str());
    }
    camel
}
