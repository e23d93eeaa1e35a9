//! The façade: load a model, feed it tokens, turn prompts into text.
//!
//! Reading order: here [`Engine`] and what it says of itself, `prepare` and `load` (from files to a
//! model ready to run), `generate` (the story of a token), `ahead` (tokens that the GPU chooses), `executor` (the
//! GPU or the CPU), `shared` (both), `profile` (where the time goes), [`first_difference()`] (the debugger).

mod ahead;
mod choice;
mod executor;
mod first_difference;
mod generate;
mod load;
mod memory;
mod model_text;
mod perplexity;
mod prepare;
mod profile;
mod quantize;
mod reports;
mod request;
mod shared;
mod verdict;

use std::rc::Rc;

use web_time::Instant;

use ahead::RUN_AHEAD;
use executor::Executor;
use generate::Running;
use load::{CHUNK_PLAN, Planned, STEP_PLAN};

pub use choice::{DeviceChoice, Prediction, PromptPrediction, VariantTime};
pub use first_difference::{Difference, first_difference, normalized_error};
pub use generate::{Completion, Event, GenerateRequest, Prompt, Timings, Usage, log_probability};
pub use load::{CompileAhead, LoadOptions, PlannedStep, Progress};
pub use memory::Memory;
pub use model_text::{ModelText, Thinking};
pub use prepare::{Prepared, prepare};
pub use profile::{KernelProfile, Profile, ProfileRequest, Reading, StepProfile};
pub use quantize::{QuantizeReport, QuantizedTensor, quantize};
pub use reports::{Device, Estimate, Info, StepCost, TensorReport};

pub use crate::cpu::{StartThreads, Threads, lend_thread};
use crate::error::{Code, Error, Result};
use crate::gpu::{AdapterHints, AdapterReport, Gpu, MAX_PICKS};
use crate::kernels::{CacheFormat, Kernel, Step};
use crate::plan::{Plan, SharedBuffer, StateKind, Tail};
use crate::text::sampler::SamplerOptions;
use crate::weights::Checkpoint;
use crate::weights::source::ByteSource;

/// A loaded model and the sequence it is working on.
pub struct Engine {
    name: String,
    architecture: &'static str,
    parameters: u64,
    vocabulary_size: u32,
    context_length: u32,
    plans: Vec<Plan>,
    tail: Tail,
    /// Steps submitted before the token of an earlier one is known here.
    run_ahead: usize,
    memory: Memory,
    weight_bytes: u64,
    executor: Executor,
    predicted: Option<Prediction>,
    fallback_reason: Option<String>,
    verdicts: Option<String>,
    text: ModelText,
    load_ms: f64,
    compile_ms: f64,
    /// Tokens whose state the executor holds.
    past: Vec<u32>,
    /// What all plans share besides matrices.
    shared: Vec<SharedBuffer>,
    /// The shared buffers that are state.
    state: Vec<(usize, StateKind)>,
    /// Whether the state holds the past in one, and so cannot be cut.
    is_recurrent: bool,
    kv_format: CacheFormat,
    /// Whether a step began and did not end: the state may be ahead of the past.
    is_torn: bool,
    running: Option<Running>,
}

/// What GPU there is, without opening it; `no-gpu` if there is none.
pub async fn probe_gpu(hints: &AdapterHints) -> Result<AdapterReport> {
    Gpu::probe(hints).await
}

/// Reads the headers of a model and says what it needs, on the given adapter if there is one.
/// Succeeds on files whose weights are cut off.
pub async fn estimate(
    files: Vec<Rc<dyn ByteSource>>,
    options: &LoadOptions,
    adapter: Option<&AdapterReport>,
) -> Result<Estimate> {
    let checkpoint = Checkpoint::open(files).await?;
    let cpu_options = options.on_cpu(&checkpoint);
    let on_cpu = Planned::new(&checkpoint, &cpu_options, u64::MAX)?;
    let cpu_misfit = on_cpu.cpu_misfit(&checkpoint, &cpu_options)?;
    let options = &match adapter {
        Some(adapter) => options.on(adapter)?,
        None => options.clone(),
    };
    let allowed = adapter.map_or(load::GUARANTEED_BINDING_BYTES, AdapterReport::max_bound_bytes);
    let planned = Planned::new(&checkpoint, options, allowed)?;
    let misfit = adapter.and_then(|adapter| planned.misfit(&checkpoint, options, adapter));
    let report = |tensor: &crate::weights::Tensor| TensorReport {
        name: tensor.name.clone(),
        format: tensor.format.name(),
        shape: tensor.shape.clone(),
        size_bytes: tensor.size_bytes,
    };
    Ok(Estimate {
        architecture: planned.architecture.to_owned(),
        parameters: checkpoint.parameters(),
        context_length: planned.context_length,
        max_context_length: planned.shape.max_context_length,
        download_bytes: checkpoint.files.iter().map(|file| file.size_bytes()).sum(),
        largest_buffer_bytes: planned.largest_buffer().1,
        fits: adapter.map(|_| misfit.is_none()),
        misfit,
        tensors: checkpoint.tensors.values().map(report).collect(),
        memory: planned.memory(),
        cpu_memory: on_cpu.cpu_memory()?,
        cpu_misfit,
        step: planned.step(),
    })
}

/// The plans that a load makes on an adapter whose bindings hold so many bytes, from headers alone.
pub async fn plans(
    files: Vec<Rc<dyn ByteSource>>,
    options: &LoadOptions,
    max_binding_bytes: u64,
) -> Result<Vec<Plan>> {
    let checkpoint = Checkpoint::open(files).await?;
    Ok(Planned::new(&checkpoint, options, max_binding_bytes)?.plans)
}

impl Engine {
    /// Loads a model: one `.gguf` file, or the files of a safetensors folder.
    pub async fn load(
        files: Vec<Rc<dyn ByteSource>>,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Engine> {
        Self::load_prepared(files, options, None, progress).await
    }

    /// The same, where [`prepare()`] has done the beginning of it, with these options.
    pub async fn load_prepared(
        files: Vec<Rc<dyn ByteSource>>,
        options: &LoadOptions,
        prepared: Option<Prepared>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Engine> {
        let started = Instant::now();
        let checkpoint = Checkpoint::open(files).await?;
        checkpoint.check_complete()?;
        let text = ModelText::of(&checkpoint, options.chat_template.as_deref())?;
        let (prepared, planned) = match prepared.filter(Prepared::is_well) {
            Some(prepared) => {
                let planned = prepared.plan(&checkpoint, options)?;
                (prepared, planned)
            }
            None => Prepared::new(&checkpoint, options).await?,
        };
        let on_gpu = prepared.gpu.is_some();
        let memory = planned.memory_of(on_gpu)?;
        let mut executor = planned.allocate(&checkpoint, options, prepared.gpu).await?;
        let compiled = planned.compile_ahead(options, on_gpu)?;
        planned.upload(&checkpoint, &mut executor, progress).await?;
        let total_bytes = memory.weights_bytes;
        let mut report = |phase| {
            let file = checkpoint.name.clone();
            progress(Progress { phase, loaded_bytes: total_bytes, total_bytes, file });
        };
        report("compile");
        let uploaded = Instant::now();
        compiled.await;
        for (index, plan) in planned.all_plans().enumerate() {
            executor.prepare(index, plan).await?;
        }
        let compile_ms = milliseconds(uploaded);
        let mut engine = Engine {
            name: checkpoint.name.clone(),
            architecture: planned.architecture,
            parameters: checkpoint.parameters(),
            vocabulary_size: planned.shape.vocabulary_size,
            context_length: planned.context_length,
            weight_bytes: planned.plans[STEP_PLAN].weight_bytes(),
            memory,
            shared: planned.resources.shared().to_vec(),
            state: planned.resources.state_buffers().collect(),
            is_recurrent: planned.resources.is_recurrent(),
            kv_format: planned.resources.cache_format(),
            is_torn: false,
            plans: planned.plans,
            tail: planned.tail,
            run_ahead: options.run_ahead.unwrap_or(RUN_AHEAD).min(MAX_PICKS - 1),
            executor,
            predicted: prepared.predicted,
            fallback_reason: prepared.fallback_reason,
            verdicts: prepared.verdicts,
            text,
            load_ms: 0.0,
            compile_ms,
            past: Vec::new(),
            running: None,
        };
        report("warmup");
        engine.warm_up().await?;
        engine.load_ms = milliseconds(started);
        Ok(engine)
    }

    /// One token on the GPU, so that drivers do their first-use work now; a chunk, where it has those alone.
    async fn warm_up(&mut self) -> Result<()> {
        let rows = match &self.executor {
            Executor::Cpu(_) => 0,
            Executor::Gpu(_) => 1,
            Executor::Shared(_) => self.chunk_rows().min(2),
        };
        if rows > 0 {
            let request = GenerateRequest {
                prompt: Prompt::Tokens(vec![0; rows as usize]),
                max_tokens: Some(1),
                sampling: SamplerOptions { temperature: 0.0, ..SamplerOptions::default() },
                stop: Vec::new(),
                ignore_stop_tokens: true,
            };
            self.generate(&request, |_| {}).await?;
            self.reset();
        }
        Ok(())
    }

    /// What was loaded and what it runs on.
    pub fn info(&self) -> Info {
        let mut kernels: Vec<String> = Vec::new();
        for planned in self.plans.iter().chain([&self.tail.plan]).flat_map(|plan| &plan.kernels) {
            let format = planned.kernel.matrix().map(|matrix| format!(" {}", matrix.format.name()));
            let variant = match &planned.kernel {
                Kernel::Matvec(matvec) => format!(" {}", matvec.variant.name()),
                Kernel::Matmul(matmul) => format!(" {}", matmul.tile.name()),
                _ => String::new(),
            };
            let name = format!("{}{}{variant}", planned.kernel.name(), format.unwrap_or_default());
            if !kernels.contains(&name) {
                kernels.push(name);
            }
        }
        Info {
            model: self.name.clone(),
            architecture: self.architecture.to_owned(),
            parameters: self.parameters,
            context_length: self.context_length,
            vocabulary_size: self.vocabulary_size,
            thinking: self.text.thinking(),
            tools: self.text.calls_tools(),
            device: Device { predicted: self.predicted.clone(), ..self.executor.device() },
            fallback_reason: self.fallback_reason.clone(),
            warnings: self.text.warnings().to_vec(),
            memory: Memory {
                peak_gpu_bytes: self.executor.gpu_bytes(),
                peak_cpu_bytes: self.executor.cpu_bytes(),
                ..self.memory
            },
            step: StepCost { counters: self.executor.counters(), weight_bytes: self.weight_bytes },
            pipelines: self.executor.pipeline_count(),
            kv_format: self.kv_format,
            kernels,
            load_ms: self.load_ms,
            compile_ms: self.compile_ms,
        }
    }

    /// What to give later loads as [`LoadOptions::verdicts`], if this one measured anything.
    pub fn verdicts(&self) -> Option<&str> {
        self.verdicts.as_deref()
    }

    /// The model's tokenizer and chat template.
    pub fn text(&self) -> &ModelText {
        &self.text
    }

    /// Forgets the sequence and ends a running request.
    pub fn reset(&mut self) {
        self.past.clear();
        self.is_torn = false;
        self.running = None;
        self.executor.forget_picks();
        self.executor.clear_state();
    }

    /// Logits after each of the tokens, or after the last one, of a new sequence; each row is as
    /// long as the vocabulary. All rows need [`LoadOptions::all_logits`].
    pub async fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.reset();
        self.check_tokens(tokens)?;
        let chunk = self.plans[CHUNK_PLAN].capacity as usize;
        let mut logits = Vec::new();
        let all = self.plans[CHUNK_PLAN].logits.rows == crate::kernels::Rows::Step;
        let last = tokens.len().div_ceil(chunk) - 1;
        for (index, piece) in tokens.chunks(chunk).enumerate() {
            logits.extend(self.feed(piece, all || index == last).await?);
        }
        Ok(logits)
    }

    /// The most rows that a step may have.
    pub fn chunk_rows(&self) -> u32 {
        self.plans.iter().map(|plan| plan.capacity).max().unwrap_or_default()
    }

    /// What the sequence carries, the numbers of each buffer: slow, for comparisons.
    pub async fn state(&self) -> Result<Vec<Vec<f32>>> {
        let mut state = Vec::new();
        for (index, kind) in &self.state {
            let words = self.executor.read_shared(*index).await?;
            state.push(match kind {
                StateKind::Positions(rows) => rows.numbers(&words),
                StateKind::Recurrent => words,
            });
        }
        Ok(state)
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::invalid_request("tokens", "found none, expected at least one"));
        }
        if let Some(token) = tokens.iter().find(|token| **token >= self.vocabulary_size) {
            let message =
                format!("found {token}, the vocabulary ends at {}", self.vocabulary_size - 1);
            return Err(Error::invalid_request("tokens", message));
        }
        if tokens.len() > self.context_length as usize {
            let (found, room) = (tokens.len(), self.context_length);
            let message = format!("{found} tokens do not fit into a context of {room}");
            return Err(Error::new(Code::ContextFull, message));
        }
        Ok(())
    }

    /// Runs one step on at most a chunk of tokens that follow the past.
    async fn feed(&mut self, tokens: &[u32], wanted: bool) -> Result<Vec<f32>> {
        let index = plan_for(tokens);
        let step = Step { position: self.past.len() as u32, rows: tokens.len() as u32 };
        let plan = &self.plans[index];
        debug_assert!(
            step.rows <= plan.capacity && step.position + step.rows <= self.context_length
        );
        self.is_torn = true;
        let logits = self.executor.run(index, plan, step, tokens, wanted).await?;
        self.is_torn = false;
        self.past.extend_from_slice(tokens);
        Ok(logits)
    }
}

/// The plan for a step of these tokens.
fn plan_for(tokens: &[u32]) -> usize {
    if tokens.len() == 1 { STEP_PLAN } else { CHUNK_PLAN }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
