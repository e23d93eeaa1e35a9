//! What a load can do with headers alone, and so while weights are still on their way to the disk: open the
//! GPU, plan, choose, and begin to compile.

use std::rc::Rc;

use super::choice::{Choice, DeviceChoice, Prediction};
use super::load::{LoadOptions, Planned};
use crate::error::{Code, Error, Result};
use crate::gpu::Gpu;
use crate::kernels::Variant;
use crate::weights::Checkpoint;
use crate::weights::source::ByteSource;

/// What a model will run on: an open GPU, if it stays, and why.
pub struct Prepared {
    pub(super) gpu: Option<Rc<Gpu>>,
    pub(super) predicted: Option<Prediction>,
    pub(super) fallback_reason: Option<String>,
    pub(super) verdicts: Option<String>,
    variant: Variant,
    is_shared: bool,
}

/// Does what a load with these options does first; [`super::Engine::load_prepared`] goes on. Of the files
/// only headers are read.
pub async fn prepare(files: Vec<Rc<dyn ByteSource>>, options: &LoadOptions) -> Result<Prepared> {
    let checkpoint = Checkpoint::open(files).await?;
    let (prepared, planned) = Prepared::new(&checkpoint, options).await?;
    // Nobody waits for the end of it here: the load, which asks for the same, will.
    drop(planned.compile_ahead(options, prepared.gpu.is_some())?);
    Ok(prepared)
}

/// The GPU if the options allow and there is one, and why not where it was wanted first.
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
    /// Opens, plans and chooses for a checkpoint.
    pub(super) async fn new<'a>(
        checkpoint: &'a Checkpoint,
        options: &LoadOptions,
    ) -> Result<(Self, Planned<'a>)> {
        let (gpu, no_gpu) = open_gpu(options).await?;
        let planned = plan(checkpoint, options, gpu.as_deref())?;
        let is_for_gpu = gpu.is_some();
        let choice = Choice::of(options, gpu, &planned).await?;
        let prepared = Self {
            gpu: choice.gpu,
            predicted: choice.predicted,
            fallback_reason: no_gpu.or(choice.slower),
            verdicts: choice.verdicts,
            variant: choice.variant,
            is_shared: choice.is_shared,
        };
        let is_as_planned = prepared.gpu.is_some() == is_for_gpu
            && (prepared.variant, prepared.is_shared) == (planned.variant, planned.is_shared);
        let planned = match is_as_planned {
            true => planned,
            false => prepared.plan(checkpoint, options)?,
        };
        Ok((prepared, planned))
    }

    /// Whether what was prepared can still be used.
    pub(super) fn is_well(&self) -> bool {
        self.gpu.as_ref().is_none_or(|gpu| gpu.check().is_ok())
    }

    /// Plans a checkpoint for what was chosen.
    pub(super) fn plan<'a>(
        &self,
        checkpoint: &'a Checkpoint,
        options: &LoadOptions,
    ) -> Result<Planned<'a>> {
        let device = if self.is_shared { DeviceChoice::Shared } else { options.device };
        let options = LoadOptions { variant: Some(self.variant), device, ..options.clone() };
        plan(checkpoint, &options, self.gpu.as_deref())
    }
}

/// Plans a checkpoint for a GPU, or for the CPU where there is none; `gpu-too-small` or `out-of-memory` where
/// it has no room.
fn plan<'a>(
    checkpoint: &'a Checkpoint,
    options: &LoadOptions,
    gpu: Option<&Gpu>,
) -> Result<Planned<'a>> {
    let cpu_options = options.on_cpu(checkpoint);
    let options = if gpu.is_none() { &cpu_options } else { options };
    let planned = match gpu {
        None => Planned::new(checkpoint, options, u64::MAX)?,
        Some(gpu) => {
            let options = options.on(&gpu.report)?;
            let planned = Planned::new(checkpoint, &options, gpu.report.max_bound_bytes())?;
            if let Some(message) = planned.misfit(checkpoint, &options, &gpu.report) {
                return Err(Error::new(Code::GpuTooSmall, message));
            }
            planned
        }
    };
    let on_cpu = gpu.is_none() || planned.is_shared;
    match planned.cpu_misfit(checkpoint, options)?.filter(|_| on_cpu) {
        Some(message) => Err(Error::new(Code::OutOfMemory, message)),
        None => Ok(planned),
    }
}
