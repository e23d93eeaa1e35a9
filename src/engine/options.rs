//! Options of a load: as the caller gives them ([`LoadOptions`]), and with every default applied
//! for one model and one device ([`ResolvedOptions`]).

use std::rc::Rc;

use serde::Deserialize;

use super::session_store::SessionStore;
use crate::cpu::{CpuVariant, StartThreads};
use crate::error::{Error, Result};
use crate::gpu::{AdapterHints, AdapterReport, PipelineText};
use crate::kernels::{CacheFormat, MatmulTiling, MatvecStrategy, Reduction};
use crate::models::Shape;
use crate::weights::Checkpoint;
use crate::weights::quantize::Target;
use crate::weights::source::LocalFuture;

/// Storage binding size that every WebGPU adapter supports, in bytes.
pub(super) const GUARANTEED_BINDING_BYTES: u64 = 128 << 20;
/// Default context length in positions, for models that support as many.
const DEFAULT_CONTEXT_LENGTH: u32 = 4096;
/// Default rows of a prefill step.
const DEFAULT_CHUNK_ROWS: u32 = 64;
/// Default rows of a prefill step on the CPU, where threads divide a longer step better.
const DEFAULT_CPU_CHUNK_ROWS: u32 = 128;
/// Most parameters of a model that gets [`DEFAULT_CPU_CHUNK_ROWS`]: with a larger one, an abort
/// would wait too long for the end of a step.
const MAX_LONG_CHUNK_PARAMETERS: u64 = 1_000_000_000;

/// Default number of snapshots: the last turn.
const DEFAULT_SNAPSHOTS: u32 = 1;
/// Most snapshots that a load can ask for.
pub const MAX_SNAPSHOTS: u32 = 64;

/// Device asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum DeviceChoice {
    /// The device that a short measurement predicts to be fastest; the CPU if there is no GPU.
    #[default]
    Auto,
    /// The GPU; fails with `no-gpu` if there is none.
    #[serde(alias = "gpu")]
    WebGpu,
    /// The CPU.
    Cpu,
    /// The GPU for prefill and the CPU for decode, each with its own copy of the weights; fails
    /// with `no-gpu` if there is no GPU.
    Hybrid,
}

/// Device that a model runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    /// The GPU alone.
    WebGpu,
    /// The CPU alone.
    Cpu,
    /// The GPU for prefill, the CPU for decode.
    Hybrid,
}

impl Backend {
    /// Name in options and reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Backend::WebGpu => "webgpu",
            Backend::Cpu => "cpu",
            Backend::Hybrid => "hybrid",
        }
    }

    /// True if plans run on the GPU.
    pub(super) fn uses_gpu(self) -> bool {
        self != Backend::Cpu
    }

    /// True if plans run on the CPU.
    pub(super) fn uses_cpu(self) -> bool {
        self != Backend::WebGpu
    }
}

/// Options of a load as the caller gives them. Those that can cross a process or thread boundary
/// are read from JSON with camel-case keys; unknown keys are errors.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "EngineOptions"))]
pub struct LoadOptions {
    /// Device to use: the GPU (`webgpu`), the CPU (`cpu`), the GPU for prefill and the CPU for
    /// decode, with the weights in both memories (`hybrid`), or the fastest by a short measurement
    /// (`auto`). The default is `auto`.
    pub device: DeviceChoice,
    /// Context length in positions. The default is 4096 or what the model supports, whichever is
    /// less, and fewer where these would take far more memory than the weights.
    pub context_length: Option<u32>,
    /// Most rows of a prefill step. The default is 64, or 128 for a small model on the CPU.
    pub chunk: Option<u32>,
    /// Format that matrices are converted to where that makes them smaller: `T4` has 4.5 bits per
    /// weight, `Q8_0` 8.5. By default they keep the format of the file.
    pub quantize: Option<Target>,
    /// Format of the KV cache. The default is f16, or f32 where all weights are f32.
    pub kv_format: Option<CacheFormat>,
    /// Snapshots of state that cannot be truncated, such as that of Mamba-2 layers: positions of a
    /// conversation to which a prompt can go back without being read from the beginning. One keeps
    /// the last turn, two also the system message and tools, more also earlier turns. From 0 to 64,
    /// default 1, or 0 where the CPU lacks memory. Their bytes are reported; models without such
    /// state take none.
    pub snapshots: Option<u32>,
    /// Most bytes of conversations that are kept, outside of the device's memory, when another one
    /// takes their place. A request continues the one that it has most in common with. The default
    /// is 256 MiB; 0 keeps none.
    pub session_bytes: Option<u64>,
    /// Chat template in Jinja, instead of the checkpoint's or for a checkpoint without one.
    pub chat_template: Option<String>,
    /// Strategy of matrix-vector products on the GPU, instead of the one chosen for the adapter.
    pub strategy: Option<MatvecStrategy>,
    /// Tiling of matrix products on the GPU, instead of the one chosen for the adapter.
    pub tiling: Option<MatmulTiling>,
    /// Instructions that the CPU computes with, instead of the fastest available.
    pub cpu_variant: Option<CpuVariant>,
    /// Measurements of earlier loads ([`super::Engine::tuning_cache`]), or an empty string at
    /// first. Strategies are compared only if there is a cache, because a comparison takes time.
    pub tuning_cache: Option<String>,
    /// Properties of the adapter that the GPU's interface does not report.
    pub adapter: AdapterHints,
    /// True if a prefill step returns the logits of all its rows, not only of the last.
    #[serde(skip)]
    pub all_logits: bool,
    /// Services of the program that loads the model.
    #[serde(skip)]
    pub host: HostServices,
    /// Switches for tests.
    #[serde(skip)]
    pub test: TestSwitches,
}

/// Services and limits of the program that loads a model; they cannot be read from JSON.
#[derive(Debug, Clone, Default)]
pub struct HostServices {
    /// Starts the threads of the CPU executor.
    pub threads: StartThreads,
    /// Bytes that the CPU executor may allocate. The default is what is left of the address space
    /// in wasm, and no limit elsewhere.
    pub max_cpu_bytes: Option<u64>,
    /// Compiles pipelines while weights are uploaded.
    pub compile_ahead: Option<CompileAhead>,
    /// Storage of conversations that another one replaces. The default is memory.
    pub session_store: Option<Rc<dyn SessionStore>>,
}

/// Switches that change how a model runs, and not what it computes.
#[derive(Debug, Clone, Default)]
pub struct TestSwitches {
    /// True if kernels run as the models write them, without fusion.
    pub unfused: bool,
    /// Decode steps submitted to the GPU before the token of an earlier one is known. The default
    /// is 2, the most is 3.
    pub run_ahead: Option<usize>,
}

/// Callback that begins to compile pipelines, so that the browser has them cached when the executor
/// creates them. It may be called twice with the same pipelines. Its failures are ignored, because
/// the executor reports them when it creates the pipeline.
#[derive(Clone)]
pub struct CompileAhead(pub Rc<dyn Fn(Vec<PipelineText>) -> LocalFuture<'static, ()>>);

impl std::fmt::Debug for CompileAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CompileAhead")
    }
}

/// Device that a model is planned for.
#[derive(Debug, Clone, Copy)]
pub(super) enum PlanTarget<'a> {
    /// The CPU.
    Cpu,
    /// An adapter, alone or together with the CPU.
    Adapter(&'a AdapterReport, Backend),
    /// Any GPU whose storage bindings have at most `max_binding_bytes`.
    AnyGpu {
        /// Bytes of the largest storage binding.
        max_binding_bytes: u64,
        /// [`Backend::WebGpu`] or [`Backend::Hybrid`].
        backend: Backend,
    },
}

impl PlanTarget<'_> {
    /// The GPU backend that a choice of device asks for first.
    pub(super) fn gpu_backend(device: DeviceChoice) -> Backend {
        if device == DeviceChoice::Hybrid { Backend::Hybrid } else { Backend::WebGpu }
    }

    /// Target of plans for a GPU that is not known, with `max_binding_bytes` a storage binding.
    pub(super) fn any_gpu(options: &LoadOptions, max_binding_bytes: u64) -> Self {
        PlanTarget::AnyGpu { max_binding_bytes, backend: Self::gpu_backend(options.device) }
    }
}

/// Options of a load with every default applied, for one model and one device.
#[derive(Debug, Clone)]
pub(super) struct ResolvedOptions {
    /// Device that runs the plans.
    pub(super) backend: Backend,
    /// Context length in positions.
    pub(super) context_length: u32,
    /// True if the caller gave the context length; a default may be shortened to fit memory.
    pub(super) is_context_length_given: bool,
    /// Most rows of a prefill step; wide models take fewer.
    pub(super) chunk_rows: u32,
    /// Format that matrices are converted to where that makes them smaller.
    pub(super) quantize: Option<Target>,
    /// Format of the KV cache.
    pub(super) kv_format: CacheFormat,
    /// Snapshots of state that cannot be truncated.
    pub(super) snapshots: u32,
    /// Strategy of matrix-vector products on the GPU.
    pub(super) strategy: MatvecStrategy,
    /// Tiling of matrix products on the GPU.
    pub(super) tiling: MatmulTiling,
    /// Instructions that the CPU computes with.
    pub(super) cpu_variant: CpuVariant,
    /// Bytes of the largest storage binding.
    pub(super) max_binding_bytes: u64,
    /// True if a prefill step returns the logits of all its rows.
    pub(super) all_logits: bool,
    /// True if kernels are not fused.
    pub(super) unfused: bool,
}

impl ResolvedOptions {
    /// Applies the defaults for a model and a device.
    ///
    /// # Errors
    /// `invalid-request` for a context length, chunk, strategy, tiling or CPU variant that the
    /// model or the device does not support.
    pub(super) fn new(
        options: &LoadOptions,
        checkpoint: &Checkpoint,
        shape: &Shape,
        target: PlanTarget<'_>,
    ) -> Result<Self> {
        let (backend, max_binding_bytes) = match target {
            PlanTarget::Cpu => (Backend::Cpu, u64::MAX),
            PlanTarget::Adapter(report, backend) => (backend, report.max_bound_bytes()),
            PlanTarget::AnyGpu { max_binding_bytes, backend } => (backend, max_binding_bytes),
        };
        let (strategy, tiling) = match target {
            PlanTarget::Adapter(report, _) => kernel_choices(options, report)?,
            _ => (options.strategy.unwrap_or_default(), options.tiling.unwrap_or_default()),
        };
        Ok(Self {
            backend,
            context_length: context_length(options, shape)?,
            is_context_length_given: options.context_length.is_some(),
            chunk_rows: chunk_rows(options, checkpoint, backend)?,
            quantize: options.quantize,
            kv_format: options.kv_format.unwrap_or_else(|| default_kv_format(options, checkpoint)),
            snapshots: snapshots(options)?,
            strategy,
            tiling,
            cpu_variant: cpu_variant(options)?,
            max_binding_bytes,
            all_logits: options.all_logits,
            unfused: options.test.unfused,
        })
    }
}

fn context_length(options: &LoadOptions, shape: &Shape) -> Result<u32> {
    let most = shape.max_context_length;
    match options.context_length {
        None => Ok(most.min(DEFAULT_CONTEXT_LENGTH)),
        Some(length) if (1..=most).contains(&length) => Ok(length),
        Some(length) => {
            let expected = format!("1 to {most} for this model");
            Err(Error::invalid_value("contextLength", length, expected))
        }
    }
}

fn snapshots(options: &LoadOptions) -> Result<u32> {
    match options.snapshots.unwrap_or(DEFAULT_SNAPSHOTS) {
        count if count <= MAX_SNAPSHOTS => Ok(count),
        count => Err(Error::invalid_value("snapshots", count, format!("0 to {MAX_SNAPSHOTS}"))),
    }
}

fn chunk_rows(options: &LoadOptions, checkpoint: &Checkpoint, backend: Backend) -> Result<u32> {
    let is_small = checkpoint.parameters() <= MAX_LONG_CHUNK_PARAMETERS;
    match options.chunk {
        Some(0) => Err(Error::invalid_value("chunk", 0, "at least 1")),
        Some(rows) => Ok(rows),
        None if backend == Backend::Cpu && is_small => Ok(DEFAULT_CPU_CHUNK_ROWS),
        None => Ok(DEFAULT_CHUNK_ROWS),
    }
}

/// Default format of the KV cache: f32 where all weights are f32, so that the cache does not round
/// what the weights do not; otherwise f16.
fn default_kv_format(options: &LoadOptions, checkpoint: &Checkpoint) -> CacheFormat {
    match options.quantize {
        None if checkpoint.is_in_f32() => CacheFormat::F32,
        _ => CacheFormat::F16,
    }
}

/// The strategy and tiling asked for, or those that suit the adapter's kind and features.
fn kernel_choices(
    options: &LoadOptions,
    adapter: &AdapterReport,
) -> Result<(MatvecStrategy, MatmulTiling)> {
    const BROADCASTS: [MatmulTiling; 2] =
        [MatmulTiling::RegistersBroadcast8, MatmulTiling::RegistersBroadcast4];
    let features = &adapter.features;
    let broadcast =
        BROADCASTS.into_iter().find(|tiling| tiling.missing_feature(features).is_none());
    let (reduction, tiling) = match broadcast {
        _ if adapter.kind != "cpu" => (Reduction::WorkgroupReduce, MatmulTiling::WorkgroupMemory),
        Some(tiling) => (Reduction::LanePerQuadBroadcast, tiling),
        None => (Reduction::LanePerQuad, MatmulTiling::Registers),
    };
    let strategy = options.strategy.unwrap_or_else(|| MatvecStrategy::in_f32(reduction));
    let tiling = options.tiling.unwrap_or(tiling);
    check_features("strategy", &strategy.name(), strategy.missing_feature(features))?;
    check_features("tiling", tiling.name(), tiling.missing_feature(features))?;
    Ok((strategy, tiling))
}

fn check_features(option: &str, found: &str, missing: Option<&str>) -> Result<()> {
    match missing {
        None => Ok(()),
        Some(feature) => {
            let expected = format!("one without {feature} on this GPU");
            Err(Error::invalid_value(option, found, expected))
        }
    }
}

fn cpu_variant(options: &LoadOptions) -> Result<CpuVariant> {
    match options.cpu_variant {
        Some(variant) if !variant.is_available() => {
            Err(Error::invalid_value("cpuVariant", variant.name(), "one that this CPU supports"))
        }
        variant => Ok(variant.unwrap_or_else(CpuVariant::best)),
    }
}
