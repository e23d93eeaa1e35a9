//! Estimates of the memory and time that a model needs, from its headers alone.

use std::rc::Rc;

use super::fit::available_cpu_bytes;
use super::options::{GUARANTEED_BINDING_BYTES, LoadOptions, PlanTarget};
use super::planning::PlannedModel;
use super::reports::{Estimate, TensorReport};
use crate::error::Result;
use crate::gpu::{AdapterHints, AdapterReport, Gpu};
use crate::plan::Plan;
use crate::weights::source::ByteSource;
use crate::weights::{Checkpoint, Tensor};

/// Reports the GPU adapter without opening it.
///
/// # Errors
/// `no-gpu` if there is none.
pub async fn probe_gpu(hints: &AdapterHints) -> Result<AdapterReport> {
    Gpu::probe(hints).await
}

/// Estimates the memory and download of a model, on the given adapter if there is one. Reads only
/// headers, also of files whose weights are truncated.
///
/// # Errors
/// Errors of the headers; `missing-tensors`, `unknown-architecture`, `unsupported-format`;
/// `invalid-request` for the options.
pub async fn estimate(
    files: Vec<Rc<dyn ByteSource>>,
    options: &LoadOptions,
    adapter: Option<&AdapterReport>,
) -> Result<Estimate> {
    let checkpoint = Checkpoint::open(files).await?;
    let available = available_cpu_bytes(&options.host);
    let on_cpu = PlannedModel::new(&checkpoint, options, PlanTarget::Cpu)?.fitted(available)?;
    let cpu_misfit = on_cpu.cpu_misfit(available)?;
    let backend = PlanTarget::gpu_backend(options.device);
    let target = match adapter {
        Some(adapter) => PlanTarget::Adapter(adapter, backend),
        None => PlanTarget::any_gpu(options, GUARANTEED_BINDING_BYTES),
    };
    let planned = PlannedModel::new(&checkpoint, options, target)?.fitted(available)?;
    let misfit = adapter.and_then(|adapter| planned.gpu_misfit(adapter));
    Ok(Estimate {
        architecture: planned.architecture.to_owned(),
        parameters: checkpoint.parameters(),
        context_length: planned.options.context_length,
        max_context_length: planned.shape.max_context_length,
        download_bytes: checkpoint.files.iter().map(|file| file.size_bytes()).sum(),
        largest_buffer_bytes: planned.buffers.largest_gpu_buffer().1,
        fits: adapter.map(|_| misfit.is_none()),
        misfit,
        tensors: checkpoint.tensors.values().map(tensor_report).collect(),
        memory: planned.buffers.gpu_memory(),
        cpu_memory: on_cpu.cpu_memory()?,
        cpu_misfit,
        step: planned.decode_step(),
    })
}

fn tensor_report(tensor: &Tensor) -> TensorReport {
    TensorReport {
        name: tensor.name.clone(),
        format: tensor.format.name(),
        shape: tensor.shape.clone(),
        size_bytes: tensor.size_bytes,
    }
}

/// Plans of a load on a GPU whose storage bindings have at most `max_binding_bytes`: decode, then
/// prefill. Reads only headers.
///
/// # Errors
/// Errors of [`estimate()`].
pub async fn plans(
    files: Vec<Rc<dyn ByteSource>>,
    options: &LoadOptions,
    max_binding_bytes: u64,
) -> Result<Vec<Plan>> {
    let checkpoint = Checkpoint::open(files).await?;
    let target = PlanTarget::any_gpu(options, max_binding_bytes);
    Ok(PlannedModel::new(&checkpoint, options, target)?.plans.into_model_plans())
}
