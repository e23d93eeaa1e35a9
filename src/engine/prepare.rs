//! The part of a load that needs only headers: opening the GPU, planning, choosing the device and
//! the strategy, and beginning to compile. It can run while weights are still being downloaded.

use std::rc::Rc;

use super::fit::available_cpu_bytes;
use super::options::{Backend, DeviceChoice, LoadOptions, PlanTarget};
use super::planning::PlannedModel;
use super::tuning::{self, Prediction};
use super::upload::compile_ahead;
use crate::error::{Code, Error, Result};
use crate::gpu::Gpu;
use crate::kernels::MatvecStrategy;
use crate::weights::Checkpoint;
use crate::weights::source::ByteSource;

/// An open GPU, if the model will run on it, and the choices made for the load.
pub struct Prepared {
    /// The GPU.
    pub(super) gpu: Option<Rc<Gpu>>,
    /// Predicted times, if there was a choice.
    pub(super) prediction: Option<Prediction>,
    /// Reason why the model runs on the CPU although the options allow a GPU.
    pub(super) fallback_reason: Option<String>,
    /// The tuning cache with a new record, if something was measured.
    pub(super) tuning_cache: Option<String>,
    backend: Backend,
    strategy: MatvecStrategy,
}

/// Prepares a load with the same options, which [`super::Engine::load_prepared`] then completes.
/// Reads only headers.
///
/// # Errors
/// Errors of [`super::Engine::load`], except for those of the weights.
pub async fn prepare(files: Vec<Rc<dyn ByteSource>>, options: &LoadOptions) -> Result<Prepared> {
    let checkpoint = Checkpoint::open(files).await?;
    let (prepared, planned) = Prepared::new(&checkpoint, options).await?;
    // Compilation goes on without its future; the load requests the same pipelines and awaits them.
    drop(compile_ahead(&planned, &options.host)?);
    Ok(prepared)
}

/// Opens the GPU if the options allow it. For `auto` without an adapter returns no GPU and the
/// reason.
async fn open_gpu(options: &LoadOptions) -> Result<(Option<Rc<Gpu>>, Option<String>)> {
    if options.device == DeviceChoice::Cpu {
        return Ok((None, None));
    }
    match Gpu::open(&options.adapter).await {
        Ok(gpu) => Ok((Some(Rc::new(gpu)), None)),
        Err(error) if options.device == DeviceChoice::Auto && error.code() == Code::NoGpu => {
            Ok((None, Some(error.message().to_owned())))
        }
        Err(error) => Err(error),
    }
}

impl Prepared {
    /// Opens the GPU, plans the model of a checkpoint and chooses device and strategy.
    pub(super) async fn new<'a>(
        checkpoint: &'a Checkpoint,
        options: &LoadOptions,
    ) -> Result<(Self, PlannedModel<'a>)> {
        let (gpu, no_gpu) = open_gpu(options).await?;
        let backend = PlanTarget::gpu_backend(options.device);
        let planned = plan(checkpoint, options, gpu.as_deref().map(|gpu| (gpu, backend)))?;
        let selection = tuning::select(options, gpu.as_ref(), &planned).await?;
        let prepared = Self {
            gpu: gpu.filter(|_| selection.backend.uses_gpu()),
            prediction: selection.prediction,
            fallback_reason: no_gpu.or(selection.reason),
            tuning_cache: selection.tuning_cache,
            backend: selection.backend,
            strategy: selection.strategy,
        };
        let planned_for = (planned.options.backend, planned.options.strategy);
        let planned = match planned_for == (prepared.backend, prepared.strategy) {
            true => planned,
            false => prepared.plan(checkpoint, options)?,
        };
        Ok((prepared, planned))
    }

    /// True unless the GPU has been lost.
    pub(super) fn is_usable(&self) -> bool {
        self.gpu.as_ref().is_none_or(|gpu| gpu.check().is_ok())
    }

    /// Plans the model of a checkpoint for the selected device and strategy.
    pub(super) fn plan<'a>(
        &self,
        checkpoint: &'a Checkpoint,
        options: &LoadOptions,
    ) -> Result<PlannedModel<'a>> {
        let options = LoadOptions { strategy: Some(self.strategy), ..options.clone() };
        plan(checkpoint, &options, self.gpu.as_deref().map(|gpu| (gpu, self.backend)))
    }
}

/// Plans the model of a checkpoint for a GPU, or for the CPU without one.
///
/// # Errors
/// `gpu-too-small` or `out-of-memory` if it does not fit.
fn plan<'a>(
    checkpoint: &'a Checkpoint,
    options: &LoadOptions,
    gpu: Option<(&Gpu, Backend)>,
) -> Result<PlannedModel<'a>> {
    let target = match gpu {
        Some((gpu, backend)) => PlanTarget::Adapter(&gpu.report, backend),
        None => PlanTarget::Cpu,
    };
    let available = available_cpu_bytes(&options.host);
    let planned = PlannedModel::new(checkpoint, options, target)?.fitted(available)?;
    if let Some(message) = gpu.and_then(|(gpu, _)| planned.gpu_misfit(&gpu.report)) {
        return Err(Error::new(Code::GpuTooSmall, message));
    }
    if planned.options.backend.uses_cpu()
        && let Some(message) = planned.cpu_misfit(available)?
    {
        return Err(Error::new(Code::OutOfMemory, message));
    }
    Ok(planned)
}
