//! Executors of planned models: allocation, pipelines, and the upload of every tensor in pieces.

use std::rc::Rc;

use serde::Serialize;

use super::executors::{Executor, HybridExecutor};
use super::fingerprint::Fingerprint;
use super::options::{Backend, CompileAhead, HostServices};
use super::planning::PlannedModel;
use super::state::StateLayout;
use crate::cpu::{CpuExecutor, heap_bytes};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, GpuExecutor, PipelineText};
use crate::plan::{SharedBuffer, SharedRole};
use crate::weights::quantize::Loss;
use crate::weights::source::LocalFuture;
use crate::weights::{Checkpoint, Tensor};

/// Bytes of uploads in flight before the host waits for the GPU.
const MAX_IN_FLIGHT_BYTES: usize = 32 << 20;
/// Positions of the rotary table that are computed at a time.
const TABLE_POSITIONS: u32 = 4096;
/// Minimum divisor of a rotary frequency, so that angles stay finite.
const MIN_ROTARY_DIVISOR: f32 = 1e-3;

/// Progress of a load.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "EngineProgress"))]
pub struct Progress {
    /// Phase: `upload`, `compile` or `warmup`.
    #[cfg_attr(feature = "typescript", ts(type = "\"upload\" | \"compile\" | \"warmup\""))]
    pub phase: &'static str,
    /// Bytes of weights that were uploaded.
    pub loaded_bytes: u64,
    /// Bytes of all weights.
    pub total_bytes: u64,
    /// Name of the file that they are read from.
    pub file: String,
}

/// Allocates the executor of a planned model, on `gpu` unless the backend is the CPU.
///
/// # Errors
/// `out-of-memory`, `device-lost`.
pub(super) async fn allocate(
    planned: &PlannedModel<'_>,
    host: &HostServices,
    gpu: Option<Rc<Gpu>>,
) -> Result<Executor> {
    let buffers = &planned.buffers;
    let (resources, slots) = (&buffers.resources, &buffers.slots);
    let on_gpu = |gpu| GpuExecutor::new(gpu, resources, slots.clone(), buffers.staging_words);
    let on_cpu = async || {
        let held = heap_bytes();
        let cpu = CpuExecutor::new(resources, slots.clone(), planned.options.cpu_variant);
        let cpu = cpu.map_err(|error| planned.explain_allocation_failure(held, error))?;
        Ok::<_, Error>(cpu.with_threads(&host.threads.start().await))
    };
    Ok(match gpu {
        Some(gpu) if planned.options.backend == Backend::Hybrid => {
            let (gpu, cpu) = (on_gpu(gpu).await?, on_cpu().await?);
            let layout = StateLayout::new(resources);
            Executor::Hybrid(Box::new(HybridExecutor::new(gpu, cpu, layout)))
        }
        Some(gpu) => Executor::Gpu(Box::new(on_gpu(gpu).await?)),
        None => Executor::Cpu(Box::new(on_cpu().await?)),
    })
}

/// Begins to compile the pipelines of a planned model, if it runs on the GPU and the host can
/// compile beside other work.
pub(super) fn compile_ahead(
    planned: &PlannedModel<'_>,
    host: &HostServices,
) -> Result<LocalFuture<'static, ()>> {
    let backend = planned.options.backend;
    Ok(match &host.compile_ahead {
        Some(CompileAhead(compile)) if backend.uses_gpu() => {
            let runs_on_gpu =
                |purpose| backend != Backend::Hybrid || HybridExecutor::runs_on_gpu(purpose);
            let plans = planned.plans.all().filter(|(_, purpose, _)| runs_on_gpu(*purpose));
            let kernels = plans.flat_map(|(_, _, plan)| &plan.kernels);
            compile(PipelineText::of(kernels.map(|planned| &planned.kernel))?)
        }
        _ => Box::pin(std::future::ready(())),
    })
}

/// Reads all weights and gives them to the executor. Returns the fingerprint of the weights.
///
/// # Errors
/// Errors of the files; `malformed` for weights that are not finite; errors of the executor.
pub(super) async fn upload(
    planned: &PlannedModel<'_>,
    executor: &mut Executor,
    progress: &mut dyn FnMut(Progress),
) -> Result<Fingerprint> {
    let mut fingerprint = Fingerprint::default();
    let (checkpoint, resources) = (planned.checkpoint, &planned.buffers.resources);
    let tensors = resources.tensors().filter_map(|name| checkpoint.tensors.get(name));
    let total_bytes = tensors.map(|tensor| tensor.size_bytes).sum();
    let file = checkpoint.name.clone();
    let mut report = Progress { phase: "upload", loaded_bytes: 0, total_bytes, file };
    for (index, buffer) in resources.shared().iter().enumerate() {
        let bytes = upload_shared(checkpoint, buffer, index, executor, &mut fingerprint).await?;
        report.loaded_bytes += bytes;
    }
    let mut in_flight = 0;
    for (index, matrix) in resources.matrices().iter().enumerate() {
        let mut row_offset = 0;
        for (name, rows) in &matrix.tensors {
            let tensor = tensor(checkpoint, name)?;
            let mut row = 0;
            while row < *rows {
                let mut loss = Loss::default();
                let piece = checkpoint.read_piece(tensor, matrix.format, row, &mut loss).await?;
                executor.upload_rows(matrix, index, row_offset + row, &piece.held)?;
                if row == 0 {
                    fingerprint.add(name, &piece.held);
                }
                row += piece.rows;
                report.loaded_bytes += piece.stored_bytes;
                in_flight += piece.stored_bytes as usize;
                if in_flight >= MAX_IN_FLIGHT_BYTES {
                    executor.flush().await?;
                    in_flight = 0;
                    progress(report.clone());
                }
            }
            row_offset += rows;
        }
    }
    executor.flush().await?;
    progress(Progress { loaded_bytes: total_bytes, ..report });
    Ok(fingerprint)
}

/// Fills a shared buffer with its initial contents; returns the bytes of weights read for it.
async fn upload_shared(
    checkpoint: &Checkpoint,
    buffer: &SharedBuffer,
    index: usize,
    executor: &mut Executor,
    fingerprint: &mut Fingerprint,
) -> Result<u64> {
    match &buffer.role {
        SharedRole::State(_)
        | SharedRole::Snapshot(_)
        | SharedRole::Tokens
        | SharedRole::Sampling => Ok(0),
        SharedRole::Vector(parts) => {
            let mut words = Vec::new();
            for part in parts {
                if part.tensor.is_empty() {
                    words.resize(words.len() + part.words() as usize, 0.0);
                    continue;
                }
                let values = vector(checkpoint, &part.tensor).await?;
                fingerprint.add(&part.tensor, bytemuck::cast_slice(&values));
                let values = values.into_iter().enumerate();
                words.extend(values.map(|(index, value)| part.transform.apply(index, value)));
            }
            executor.write_shared(index, 0, &words);
            Ok(words.len() as u64 * 4)
        }
        SharedRole::RotaryTable(table) => {
            let divisors = match &table.divisors {
                Some(name) => Some(rotary_divisors(checkpoint, name).await?),
                None => None,
            };
            let mut position = 0;
            while position < table.context_length {
                let end = table.context_length.min(position + TABLE_POSITIONS);
                let rows = table.rows(position..end, divisors.as_deref());
                executor.write_shared(index, u64::from(position) * table.row_words(), &rows);
                position = end;
            }
            Ok(divisors.map_or(0, |divisors| divisors.len() as u64 * 4))
        }
    }
}

fn tensor<'a>(checkpoint: &'a Checkpoint, name: &str) -> Result<&'a Tensor> {
    let found = checkpoint.tensors.get(name);
    found.ok_or_else(|| {
        let message = format!("{}: {name}: found no tensor, expected one", checkpoint.name);
        Error::internal(message)
    })
}

/// All values of a tensor, row by row.
async fn vector(checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>> {
    let tensor = tensor(checkpoint, name)?;
    let stored = checkpoint.read_finite_rows(tensor, 0, tensor.rows()).await?;
    let mut values = vec![0.0; tensor.rows() * tensor.columns()];
    tensor.format.dequantize(tensor.columns(), &stored, &mut values)?;
    Ok(values)
}

/// Divisors of the rotary frequencies; `malformed` if one is NaN or could make an angle infinite.
async fn rotary_divisors(checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>> {
    let divisors = vector(checkpoint, name).await?;
    match divisors.iter().find(|divisor| !(MIN_ROTARY_DIVISOR..).contains(*divisor)) {
        Some(divisor) => {
            let expected = format!("divisors of at least {MIN_ROTARY_DIVISOR}");
            Err(Error::malformed_value(&checkpoint.name, name, divisor, expected))
        }
        None => Ok(divisors),
    }
}
