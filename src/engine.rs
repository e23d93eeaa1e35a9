//! The crate's API: loads a model, answers requests on one sequence, and reports costs.
//!
//! Reading order, each file above those it uses:
//! - [`Engine`] here, and its methods in `load` (from files to a model ready to run), `generate`
//!   (the path of a token), `run_ahead` (tokens that the GPU samples), `embeddings`, `profile` and
//!   `perplexity`;
//! - `prepare` (the part of a load that needs only headers), `tuning` (choice of device and
//!   strategy), `estimate`, `upload`, `fit`;
//! - `planning` (headers to plans), `executors` (GPU, CPU, both), `sequence` (tokens and state);
//! - `session` (sequences as bytes), `kept_sessions` (conversations that another one replaced);
//! - `options`, `plans` (the registry), `memory`, `state`, `running` and `completion` (requests),
//!   `model_text` (tokenizer and chat template), `reports`.
//!
//! Apart from these: [`first_difference()`] (the debugger) and [`quantize()`].

mod clock;
mod completion;
mod embeddings;
mod estimate;
mod executors;
mod fingerprint;
mod first_difference;
mod fit;
mod generate;
mod kept_prefixes;
mod kept_sessions;
mod load;
mod logprobs;
mod memory;
mod model_text;
mod options;
mod perplexity;
mod planning;
mod plans;
mod prepare;
mod profile;
mod prompt;
mod quantize;
mod reports;
mod request;
mod run_ahead;
mod running;
mod sequence;
mod session;
mod session_format;
mod session_store;
mod snapshots;
mod state;
mod tuning;
mod upload;

pub use completion::{
    Completion, Event, GenerateRequest, Prompt, PromptTokensDetails, Timings, Usage,
};
pub use embeddings::{EmbeddingInput, EmbeddingRequest, EmbeddingUsage};
pub use estimate::{estimate, plans, probe_gpu};
pub use first_difference::{Difference, first_difference, normalized_error};
pub use logprobs::log_probability;
pub use memory::Memory;
pub use model_text::{ModelText, Thinking};
pub use options::{
    CompileAhead, DeviceChoice, HostServices, LoadOptions, MAX_SNAPSHOTS, TestSwitches,
};
pub use planning::PlannedStep;
pub use prepare::{Prepared, prepare};
pub use profile::{CpuBandwidth, KernelProfile, Profile, ProfileRequest, StepProfile};
pub use quantize::{QuantizeReport, QuantizedTensor, quantize};
pub use reports::{
    Device, Estimate, GpuCapabilities, Info, StepCost, TensorReport, camel_case, camel_case_keys,
};
pub use request::{MAX_MESSAGES, RequestField, request_fields};
pub use sequence::LayerState;
pub use session::SessionReport;
pub use session_store::SessionStore;
pub use tuning::{Prediction, PromptPrediction, StrategyTime};
pub use upload::Progress;

// Types of the layers below that the options, requests and reports of the engine consist of.
pub use crate::cpu::{CpuVariant, MAX_THREADS, StartThreads, Threads, run_worker};
pub use crate::kernels::{CacheFormat, MatmulTiling, MatvecStrategy, Step};
pub use crate::sampling::{
    FREQUENCY_PENALTY, MIN_P, PRESENCE_PENALTY, REPETITION_PENALTY, SamplerOptions, TEMPERATURE,
    TOP_K, TOP_P,
};
pub use crate::text::Delta;

use crate::error::{Code, Error, Result};
use crate::kernels::{Kernel, Rows};
use crate::models::EmbeddingHead;
use crate::plan::SharedBuffer;
use embeddings::{EmbeddingRun, Prompts};
use executors::Executor;
use kept_sessions::KeptSessions;
use plans::{PlanPurpose, Plans};
use running::Running;
use sequence::Sequence;

/// A loaded model and the sequence that it works on.
pub struct Engine {
    name: String,
    architecture: &'static str,
    parameters: u64,
    vocabulary_size: u32,
    context_length: u32,
    kv_format: CacheFormat,
    memory: Memory,
    /// Buffers that all plans share besides matrices.
    shared_buffers: Vec<SharedBuffer>,
    plans: Plans,
    executor: Executor,
    sequence: Sequence,
    /// Decode steps submitted to the GPU before the token of an earlier one is known.
    run_ahead: usize,
    kept_sessions: KeptSessions,
    running: Option<Running>,
    /// True if the model only makes embeddings.
    is_encoder: bool,
    /// Steps to an embedding; those of a model that generates text may be invalid.
    embedding_head: Result<EmbeddingHead>,
    embedding_run: Option<EmbeddingRun>,
    prompts: Prompts,
    text: ModelText,
    prediction: Option<Prediction>,
    fallback_reason: Option<String>,
    tuning_cache: Option<String>,
    /// Fingerprint of the model, for saved sessions.
    fingerprint: String,
    load_ms: f64,
    compile_ms: f64,
}

impl Engine {
    /// Report of the model, the device it runs on, and their costs.
    pub fn info(&self) -> Info {
        let device = self.executor.describe();
        let weight_bytes = self.plans.decode_weight_bytes();
        Info {
            name: self.name.clone(),
            architecture: self.architecture.to_owned(),
            parameters: self.parameters,
            context_length: self.context_length,
            vocabulary_size: self.vocabulary_size,
            thinking: self.text.thinking(),
            tools: self.text.calls_tools(),
            device: Device {
                backend: device.backend.name().to_owned(),
                adapter: device.adapter,
                features: device.features,
                threads: device.threads,
                predicted: self.prediction.clone(),
            },
            fallback_reason: self.fallback_reason.clone(),
            warnings: self.text.warnings().to_vec(),
            memory: Memory {
                peak_gpu_bytes: self.executor.gpu_bytes(),
                peak_cpu_bytes: self.executor.cpu_bytes(),
                session_bytes: self.kept_sessions.size_bytes(),
                ..self.memory
            },
            step: StepCost { counters: self.executor.counters(), weight_bytes },
            pipelines: self.executor.pipeline_count(),
            kv_format: self.kv_format,
            kernels: self.kernel_names(),
            load_ms: self.load_ms,
            compile_ms: self.compile_ms,
        }
    }

    /// Distinct kernels of all plans, each with its weight format and its strategy or tiling.
    fn kernel_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for planned in self.plans.all().flat_map(|(_, _, plan)| &plan.kernels) {
            let format = planned.kernel.matrix().map(|matrix| format!(" {}", matrix.format.name()));
            let method = match &planned.kernel {
                Kernel::Matvec(matvec) => format!(" {}", matvec.strategy.name()),
                Kernel::Matmul(matmul) => format!(" {}", matmul.tiling.name()),
                _ => String::new(),
            };
            let name = format!("{}{}{method}", planned.kernel.name(), format.unwrap_or_default());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Cache for [`LoadOptions::tuning_cache`] of later loads; `None` if this load measured
    /// nothing.
    pub fn tuning_cache(&self) -> Option<&str> {
        self.tuning_cache.as_deref()
    }

    /// Tokenizer and chat template of the model.
    pub fn text(&self) -> &ModelText {
        &self.text
    }

    /// Empties the sequence and drops a running request.
    pub fn reset(&mut self) {
        (self.running, self.embedding_run) = (None, None);
        self.sequence.reset(&mut self.executor);
    }

    /// Logits of a new sequence, `[tokens or 1, vocabulary]`: after each token if the model was
    /// loaded with [`LoadOptions::all_logits`], otherwise after the last.
    ///
    /// # Errors
    /// `invalid-request` and `context-full` for the tokens; errors of the device.
    pub async fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.check_generates()?;
        self.reset();
        self.check_tokens(tokens)?;
        let rows = self.chunk_rows();
        let prefill = self.plans.find(PlanPurpose::Prefill, rows);
        let all_logits = prefill.is_some_and(|entry| entry.plan.logits.rows == Rows::Step);
        let mut logits = Vec::new();
        let chunks = tokens.chunks(rows as usize);
        let last = chunks.len() - 1;
        for (index, chunk) in chunks.enumerate() {
            logits.extend(self.forward(chunk, all_logits || index == last).await?);
        }
        Ok(logits)
    }

    /// Most rows of a prefill step.
    pub fn chunk_rows(&self) -> u32 {
        self.plans.max_rows(PlanPurpose::Prefill)
    }

    /// Reads back the state of the sequence as `f32`, for comparisons; slow.
    ///
    /// # Errors
    /// Errors of the device.
    pub async fn state(&self) -> Result<Vec<LayerState>> {
        self.sequence.read_state(&self.executor).await
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::invalid_value("tokens", "none", "at least one"));
        }
        if let Some(token) = tokens.iter().find(|token| **token >= self.vocabulary_size) {
            let expected = format!("ids below {}", self.vocabulary_size);
            return Err(Error::invalid_value("tokens", token, expected));
        }
        if tokens.len() > self.context_length as usize {
            let (found, most) = (tokens.len(), self.context_length);
            let message =
                format!("{}: context: found {found} tokens, expected at most {most}", self.name);
            return Err(Error::new(Code::ContextFull, message));
        }
        Ok(())
    }

    /// Runs one step that appends at most a chunk of tokens to the sequence; returns its logits if
    /// `want_logits`, otherwise nothing.
    async fn forward(&mut self, tokens: &[u32], want_logits: bool) -> Result<Vec<f32>> {
        let step = Step { position: self.sequence.len() as u32, rows: tokens.len() as u32 };
        debug_assert!(step.position + step.rows <= self.context_length);
        let Some(plan) = self.plans.for_step(step.rows) else {
            return Err(no_plan(step.rows));
        };
        self.sequence.begin_step();
        let logits = self.executor.run(plan, step, tokens, want_logits).await?;
        self.sequence.end_step(tokens);
        Ok(logits)
    }
}

fn no_plan(rows: u32) -> Error {
    Error::internal(format!("plans: found none for {rows} rows, expected one"))
}
