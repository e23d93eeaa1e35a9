//! A load, as a straight path: header, architecture, plans, memory, weights, pipelines.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::choice::DeviceChoice;
use super::executor::Executor;
use super::shared::{HAND_OVER_WORDS, Shared};
use crate::cpu::{CpuExecutor, CpuVariant, StartThreads, heap_bytes};
use crate::error::{Code, Error, Result};
use crate::gpu::{AdapterHints, AdapterReport, Gpu, GpuExecutor, PipelineText};
use crate::kernels::{CacheFormat, Rows, Step, Tile, Variant};
use crate::models::{self, Architecture, Shape};
use crate::plan::{
    Plan, PlanBuilder, Resources, SharedBuffer, SharedRole, Slots, Tail, assign_slots, fuse, stack,
};
use crate::weights::quantize::{Loss, Target};
use crate::weights::source::LocalFuture;
use crate::weights::{Checkpoint, Tensor};

/// Uploads in flight before we wait for the GPU.
const IN_FLIGHT_BYTES: usize = 32 << 20;
/// Positions of the rotary table that are computed at a time.
const TABLE_POSITIONS: u32 = 4096;
/// The binding size that every WebGPU adapter offers.
pub(super) const GUARANTEED_BINDING_BYTES: u64 = 128 << 20;
/// Context length unless the caller asks for another.
const DEFAULT_CONTEXT: u32 = 4096;
/// Rows of a prompt per step unless the caller asks for another; on the CPU, where threads share a longer step
/// better, unless a step would take seconds: nothing stops it.
const DEFAULT_CHUNK: u32 = 64;
const CPU_CHUNK: u32 = 128;
const CPU_CHUNK_PARAMETERS: u64 = 1_000_000_000;
/// Words of a chunk's widest rows together, so that a wide model takes fewer rows at a time.
const CHUNK_WORDS: u32 = 1 << 24;

/// Index of the plan for one row, and of the one for a chunk of a prompt.
pub(super) const STEP_PLAN: usize = 0;
pub(super) const CHUNK_PLAN: usize = 1;

/// How to load a model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadOptions {
    /// Which executor to use.
    pub device: DeviceChoice,
    /// Positions to have room for; by default at most 4096 and what the model allows, and fewer where
    /// these would take far more memory than the weights.
    pub context_length: Option<u32>,
    /// The most rows of a prompt per step; by default 64, for a small model on the CPU 128.
    pub chunk: Option<u32>,
    /// What to turn matrices into where that makes them smaller.
    pub quantize: Option<Target>,
    /// How keys and values are kept; by default in f16, but in f32 where all weights are.
    pub kv_format: Option<CacheFormat>,
    /// Instead of the checkpoint's chat template, or for a model that has none.
    pub chat_template: Option<String>,
    /// How products of one row are computed, instead of what suits the GPU.
    pub variant: Option<Variant>,
    /// How products of many rows are, and whether lanes share loads, instead of what suits the GPU.
    pub tile: Option<Tile>,
    /// How the CPU computes, instead of the quickest way that it has.
    pub cpu_variant: Option<CpuVariant>,
    /// What earlier loads measured ([`super::Engine::verdicts`]), where that can be kept: variants are
    /// compared only there.
    pub verdicts: Option<String>,
    /// What the GPU's interface does not tell of the adapter.
    pub adapter: AdapterHints,
    /// Whether kernels run one by one as models write them: slower, and the same answers.
    #[serde(skip)]
    pub unfused: bool,
    /// Whether a chunk yields the logits of all its rows, not only of the last.
    #[serde(skip)]
    pub all_logits: bool,
    /// Steps submitted to the GPU before the token of an earlier one is known here; by default 2,
    /// at most 3.
    #[serde(skip)]
    pub run_ahead: Option<usize>,
    /// Threads for the CPU executor.
    #[serde(skip)]
    pub threads: StartThreads,
    /// Bytes that a model on the CPU may take, instead of what there are in a tab.
    #[serde(skip)]
    pub cpu_bytes: Option<u64>,
    /// What compiles pipelines beside the upload, where there is such a thing.
    #[serde(skip)]
    pub compile_ahead: Option<CompileAhead>,
}

/// Compiles pipelines, so that the GPU's interface has them when they are asked for; a failure is
/// met then. It may be asked twice for the same.
#[derive(Clone)]
pub struct CompileAhead(pub Rc<dyn Fn(Vec<PipelineText>) -> LocalFuture<'static, ()>>);

impl std::fmt::Debug for CompileAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CompileAhead")
    }
}

impl LoadOptions {
    /// These, with a variant and a tile that the adapter can run: what suits it, unless asked for.
    pub(super) fn on(&self, adapter: &AdapterReport) -> Result<Self> {
        let can = |tile: &Tile| tile.lacks(&adapter.features).is_none();
        let (variant, tile) = match [Tile::Eights, Tile::Quads].into_iter().find(can) {
            _ if adapter.kind != "cpu" => (Variant::Together, Tile::Staged),
            Some(tile) => (Variant::Quads, tile),
            None => (Variant::Alone, Tile::Registers),
        };
        let (variant, tile) = (self.variant.unwrap_or(variant), self.tile.unwrap_or(tile));
        let missing = [
            ("variant", variant.name(), variant.lacks(&adapter.features)),
            ("tile", tile.name(), tile.lacks(&adapter.features)),
        ];
        if let Some((option, name, Some(feature))) =
            missing.into_iter().find(|(_, _, it)| it.is_some())
        {
            return Err(Error::invalid_request(
                option,
                format!("found {name}, this GPU has no {feature}"),
            ));
        }
        Ok(Self { variant: Some(variant), tile: Some(tile), ..self.clone() })
    }

    /// These, for a model on the CPU alone.
    pub(super) fn on_cpu(&self, checkpoint: &Checkpoint) -> Self {
        let is_small = checkpoint.parameters() <= CPU_CHUNK_PARAMETERS;
        let chunk = if is_small { CPU_CHUNK } else { DEFAULT_CHUNK };
        Self { chunk: self.chunk.or(Some(chunk)), ..self.clone() }
    }
}

/// The asked for way to compute on the CPU, or the quickest.
fn cpu_variant(options: &LoadOptions) -> Result<CpuVariant> {
    match options.cpu_variant {
        Some(variant) if !variant.is_available() => {
            let message = format!("found {}, this processor lacks it", variant.name());
            Err(Error::invalid_request("cpuVariant", message))
        }
        variant => Ok(variant.unwrap_or_else(CpuVariant::best)),
    }
}

/// How far a load is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// `upload`, `compile` or `warmup`.
    pub phase: &'static str,
    /// Bytes of weights so far.
    pub loaded_bytes: u64,
    /// Bytes of weights in all.
    pub total_bytes: u64,
    /// The file they come from.
    pub file: String,
}

/// What one decoding step takes, from its plan.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PlannedStep {
    /// Kernels dispatched on a GPU at the end of the context, where most are.
    pub dispatches: usize,
    /// Bytes of weights read.
    pub weight_bytes: u64,
}

/// A model planned from its headers; nothing allocated.
pub(super) struct Planned<'a> {
    pub(super) architecture: &'static str,
    pub(super) shape: Shape,
    pub(super) context_length: u32,
    pub(super) variant: Variant,
    pub(super) tile: Tile,
    pub(super) cpu_variant: CpuVariant,
    pub(super) plans: Vec<Plan>,
    pub(super) tail: Tail,
    pub(super) resources: Resources<'a>,
    pub(super) slots: Slots,
    pub(super) staging_words: u64,
    /// Whether GPU and CPU share the plans.
    pub(super) is_shared: bool,
}

impl<'a> Planned<'a> {
    /// Plans the model of a checkpoint for bindings of at most that size.
    pub(super) fn new(
        checkpoint: &'a Checkpoint,
        options: &LoadOptions,
        max_binding_bytes: u64,
    ) -> Result<Self> {
        let (architecture, model) = models::read(checkpoint)?;
        let wanted = context_length(options, &model.shape())?;
        let model = (architecture, &*model);
        let planned = Self::at(checkpoint, model, options, max_binding_bytes, wanted)?;
        match planned.proportionate_context(checkpoint, options)? {
            length if length < wanted => {
                Self::at(checkpoint, model, options, max_binding_bytes, length)
            }
            _ => Ok(planned),
        }
    }

    /// Plans a model for a context.
    fn at(
        checkpoint: &'a Checkpoint,
        (architecture, model): (&'static str, &dyn Architecture),
        options: &LoadOptions,
        max_binding_bytes: u64,
        context_length: u32,
    ) -> Result<Self> {
        let shape = model.shape();
        let mut resources = Resources::new(checkpoint, max_binding_bytes)
            .quantize(options.quantize.map(Target::format))
            .cache_in(kv_format(options, checkpoint));
        let step = plan(model, &mut resources, 1, context_length, false);
        // Weights are the same for both plans: a problem is there after the first.
        resources.check_complete(&checkpoint.name)?;
        let chunk = chunk(options, &step)?.min(context_length);
        let mut plans =
            vec![step, plan(model, &mut resources, chunk, context_length, options.all_logits)];
        stack(&mut plans, &mut resources);
        let (variant, tile) =
            (options.variant.unwrap_or_default(), options.tile.unwrap_or_default());
        for plan in &mut plans {
            plan.vary(variant);
            plan.tile(tile);
        }
        let mut tail = Tail::new(&mut resources, shape.vocabulary_size);
        if !options.unfused {
            plans = plans.into_iter().map(|plan| fuse(plan, &mut resources)).collect();
            tail.follow(&mut plans);
        }
        resources.check_complete(&checkpoint.name)?;
        check_all_used(checkpoint, architecture, &resources)?;
        let slots = assign_slots(&plans.iter().chain([&tail.plan]).collect::<Vec<_>>());
        let staging = plans.iter().map(|plan| plan.logits.words(plan.capacity));
        let is_shared = options.device == DeviceChoice::Shared;
        let staging_words = staging.chain(is_shared.then_some(HAND_OVER_WORDS)).max().unwrap_or(0);
        Ok(Self {
            architecture,
            shape,
            context_length,
            variant,
            tile,
            cpu_variant: cpu_variant(options)?,
            plans,
            tail,
            resources,
            slots,
            staging_words,
            is_shared,
        })
    }

    /// The variants that may compute its products on such an adapter.
    pub(super) fn variants(&self, adapter: &AdapterReport) -> impl Iterator<Item = Variant> {
        Variant::ALL.into_iter().filter(|variant| variant.lacks(&adapter.features).is_none())
    }

    /// What one decoding step takes.
    pub(super) fn step(&self) -> PlannedStep {
        let plan = &self.plans[STEP_PLAN];
        let step = Step { position: self.context_length - 1, rows: 1 };
        let kernels = plan.kernels.iter().chain(&self.tail.plan.kernels[self.tail.kernels(false)]);
        let dispatched = kernels.filter(|planned| !planned.kernel.workgroups(step).contains(&0));
        PlannedStep { dispatches: dispatched.count(), weight_bytes: plan.weight_bytes() }
    }

    /// Allocates everything, on the GPU if there is one given.
    pub(super) async fn allocate(
        &self,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        gpu: Option<Rc<Gpu>>,
    ) -> Result<Executor> {
        let (resources, slots) = (&self.resources, &self.slots);
        let on_gpu = |gpu| GpuExecutor::new(gpu, resources, slots.clone(), self.staging_words);
        let on_cpu = async || {
            let held = heap_bytes();
            let cpu = CpuExecutor::new(resources, slots.clone(), self.cpu_variant);
            let cpu = cpu.map_err(|error| self.no_room(checkpoint, options, held, error))?;
            Ok::<_, Error>(cpu.with(&options.threads.start().await))
        };
        Ok(match gpu {
            Some(gpu) if self.is_shared => Executor::Shared(Box::new(Shared::new(
                on_gpu(gpu).await?,
                on_cpu().await?,
                resources,
            ))),
            Some(gpu) => Executor::Gpu(Box::new(on_gpu(gpu).await?)),
            None => Executor::Cpu(Box::new(on_cpu().await?)),
        })
    }

    /// Every plan, in the order in which their slots were assigned.
    pub(super) fn all_plans(&self) -> impl Iterator<Item = &Plan> {
        self.plans.iter().chain([&self.tail.plan])
    }

    /// Begins to compile what the plans need, where that can go on beside other work.
    pub(super) fn compile_ahead(
        &self,
        options: &LoadOptions,
        on_gpu: bool,
    ) -> Result<LocalFuture<'static, ()>> {
        Ok(match &options.compile_ahead {
            Some(CompileAhead(compile)) if on_gpu => {
                let plans = self.all_plans().enumerate();
                let plans = plans.filter(|(index, _)| !self.is_shared || *index == CHUNK_PLAN);
                let kernels = plans.flat_map(|(_, plan)| &plan.kernels);
                compile(PipelineText::of(kernels.map(|planned| &planned.kernel))?)
            }
            _ => Box::pin(std::future::ready(())),
        })
    }

    /// Reads all weights and gives them to the executor.
    pub(super) async fn upload(
        &self,
        checkpoint: &Checkpoint,
        executor: &mut Executor,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let total_bytes = self.resources.tensors().filter_map(|name| checkpoint.tensors.get(name));
        let total_bytes = total_bytes.map(|tensor| tensor.size_bytes).sum();
        let mut report = Progress {
            phase: "upload",
            loaded_bytes: 0,
            total_bytes,
            file: checkpoint.name.clone(),
        };
        for (index, buffer) in self.resources.shared().iter().enumerate() {
            report.loaded_bytes += upload_shared(checkpoint, buffer, index, executor).await?;
        }
        let mut in_flight = 0;
        for (index, matrix) in self.resources.matrices().iter().enumerate() {
            let mut above = 0;
            for (name, rows) in &matrix.tensors {
                let tensor = tensor(checkpoint, name)?;
                let mut row = 0;
                while row < *rows {
                    let piece = checkpoint
                        .read_piece(tensor, matrix.format, row, &mut Loss::default())
                        .await?;
                    executor.upload_rows(matrix, index, above + row, &piece.held)?;
                    row += piece.rows;
                    report.loaded_bytes += piece.stored_bytes;
                    in_flight += piece.stored_bytes as usize;
                    if in_flight >= IN_FLIGHT_BYTES {
                        executor.flush().await?;
                        in_flight = 0;
                        progress(report.clone());
                    }
                }
                above += rows;
            }
        }
        executor.flush().await?;
        progress(Progress { loaded_bytes: total_bytes, ..report });
        Ok(())
    }
}

fn context_length(options: &LoadOptions, shape: &Shape) -> Result<u32> {
    match options.context_length {
        None => Ok(shape.max_context_length.min(DEFAULT_CONTEXT)),
        Some(length) if (1..=shape.max_context_length).contains(&length) => Ok(length),
        Some(length) => {
            let message =
                format!("found {length}, this model allows 1 to {}", shape.max_context_length);
            Err(Error::invalid_request("context length", message))
        }
    }
}

/// Rows of a prompt per step, for a model whose plan for one row is this.
fn chunk(options: &LoadOptions, step: &Plan) -> Result<u32> {
    let wanted = options.chunk.unwrap_or(DEFAULT_CHUNK);
    if wanted == 0 {
        return Err(Error::invalid_request("chunk", "found 0, expected at least 1"));
    }
    let rows = step.scratch.iter().filter(|rows| rows.rows == Rows::Step);
    let logits = options.all_logits.then_some(step.logits.stride);
    let widest = rows.map(|rows| rows.stride).chain(logits).max().unwrap_or(1);
    Ok(wanted.min((CHUNK_WORDS / widest).max(1)))
}

/// Who loads weights in f32 wants to see their effect and no other.
fn kv_format(options: &LoadOptions, checkpoint: &Checkpoint) -> CacheFormat {
    let default = match options.quantize {
        None if checkpoint.is_in_f32() => CacheFormat::F32,
        _ => CacheFormat::F16,
    };
    options.kv_format.unwrap_or(default)
}

fn plan(
    model: &dyn Architecture,
    resources: &mut Resources<'_>,
    capacity: u32,
    context_length: u32,
    all_logits: bool,
) -> Plan {
    let mut plan = PlanBuilder::new(resources, capacity);
    let x = model.layers(&mut plan, context_length);
    let x = if all_logits { x } else { plan.last_row(x) };
    let logits = model.head(&mut plan, x);
    debug_assert!(all_logits || logits.rows == Rows::One);
    plan.finish(logits)
}

/// A tensor that the plan does not use would change the model's meaning: refuse it.
fn check_all_used(
    checkpoint: &Checkpoint,
    architecture: &str,
    resources: &Resources<'_>,
) -> Result<()> {
    let used: std::collections::HashSet<&str> = resources.tensors().collect();
    let unused = checkpoint.tensors.keys().map(String::as_str);
    let unused: Vec<_> = unused.filter(|name| !used.contains(name)).collect();
    if unused.is_empty() {
        return Ok(());
    }
    let (file, count) = (&checkpoint.name, unused.len());
    let first = unused.into_iter().take(8).collect::<Vec<_>>().join(", ");
    let message =
        format!("{file}: {count} tensors that {architecture} does not use, such as {first}");
    Err(Error::new(Code::UnsupportedFormat, message))
}

/// A tensor that the plan uses.
fn tensor<'a>(checkpoint: &'a Checkpoint, name: &str) -> Result<&'a Tensor> {
    let found = checkpoint.tensors.get(name);
    found.ok_or_else(|| Error::internal(format!("tensor {name} was planned but is gone")))
}

/// A whole tensor, row after row, as f32.
async fn vector(checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>> {
    let tensor = tensor(checkpoint, name)?;
    let stored = checkpoint.read_finite_rows(tensor, 0, tensor.rows()).await?;
    let mut values = vec![0.0; tensor.rows() * tensor.columns()];
    tensor.format.dequantize(tensor.columns(), &stored, &mut values)?;
    Ok(values)
}

/// The divisors of rotary frequencies; `malformed` where an angle would be no number.
async fn divisors(checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>> {
    const LEAST: f32 = 1e-3;
    let divisors = vector(checkpoint, name).await?;
    match divisors.iter().find(|divisor| !(LEAST..).contains(*divisor)) {
        Some(bad) => {
            let message = format!("found {bad}, expected divisors of at least {LEAST}");
            Err(Error::malformed(&checkpoint.name, name, message))
        }
        None => Ok(divisors),
    }
}

/// Fills a shared buffer with what it holds from the start; returns the bytes read for it.
async fn upload_shared(
    checkpoint: &Checkpoint,
    buffer: &SharedBuffer,
    index: usize,
    executor: &mut Executor,
) -> Result<u64> {
    match &buffer.role {
        SharedRole::State(_) | SharedRole::Tokens | SharedRole::Sampling => Ok(0),
        SharedRole::Vector(parts) => {
            let mut words = Vec::new();
            for part in parts {
                let values = vector(checkpoint, &part.tensor).await?;
                words.extend(values.into_iter().map(|value| part.transform.apply(value)));
            }
            executor.write_shared(index, 0, &words);
            Ok(words.len() as u64 * 4)
        }
        SharedRole::RotaryTable(table) => {
            let divisors = match &table.divisors {
                Some(name) => Some(divisors(checkpoint, name).await?),
                None => None,
            };
            let mut position = 0;
            while position < table.context_length {
                let end = table.context_length.min(position + TABLE_POSITIONS);
                let first = u64::from(position) * table.row_words();
                executor.write_shared(
                    index,
                    first,
                    &table.rows(position..end, divisors.as_deref()),
                );
                position = end;
            }
            Ok(divisors.map_or(0, |divisors| divisors.len() as u64 * 4))
        }
    }
}
