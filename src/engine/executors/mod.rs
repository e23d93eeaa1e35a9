//! Executors of plans behind one enum: the GPU, the CPU, and the hybrid of both.

mod hybrid;

pub(super) use hybrid::{HANDOVER_WORDS, HybridExecutor, handover_ms_per_gb};

use std::ops::Range;

use super::options::Backend;
use super::plans::{PlanPurpose, RegisteredPlan};
use super::state::StatePart;
use crate::cpu::CpuExecutor;
use crate::error::Result;
use crate::gpu::{GpuExecutor, StepCounters};
use crate::kernels::{Activation, Buffer, Step};
use crate::plan::{MatrixInfo, Plan};

/// Executor of a model's plans, and owner of its memory.
pub(super) enum Executor {
    /// The GPU alone.
    Gpu(Box<GpuExecutor>),
    /// The CPU alone.
    Cpu(Box<CpuExecutor>),
    /// The GPU for prefill, the CPU for decode.
    Hybrid(Box<HybridExecutor>),
}

/// The executor of one plan.
pub(super) enum Runner<'a> {
    /// The GPU.
    Gpu(&'a mut GpuExecutor),
    /// The CPU.
    Cpu(&'a mut CpuExecutor),
}

/// Description of the devices in use.
pub(super) struct ExecutorDescription {
    /// The devices.
    pub(super) backend: Backend,
    /// Name of the adapter and the interface to it, of the CPU's architecture, or of both.
    pub(super) adapter: String,
    /// Optional features in use.
    pub(super) features: Vec<String>,
    /// Threads of the CPU executor.
    pub(super) threads: Option<usize>,
}

impl Executor {
    /// The GPU executor, if there is one.
    fn gpu(&self) -> Option<&GpuExecutor> {
        match self {
            Executor::Gpu(gpu) => Some(gpu),
            Executor::Cpu(_) => None,
            Executor::Hybrid(hybrid) => Some(&hybrid.gpu),
        }
    }

    /// The executor of plans for a purpose.
    pub(super) fn runner(&mut self, purpose: PlanPurpose) -> Runner<'_> {
        match self {
            Executor::Gpu(gpu) => Runner::Gpu(gpu),
            Executor::Cpu(cpu) => Runner::Cpu(cpu),
            Executor::Hybrid(hybrid) => hybrid.runner(purpose),
        }
    }

    /// Runs a step; returns its logits, `[rows or 1, vocabulary]`, or none unless `want_logits`.
    ///
    /// # Errors
    /// `device-lost` and `out-of-memory` of the GPU.
    pub(super) async fn run(
        &mut self,
        entry: &RegisteredPlan,
        step: Step,
        tokens: &[u32],
        want_logits: bool,
    ) -> Result<Vec<f32>> {
        let plan = &entry.plan;
        let (kernels, result) = match want_logits {
            true => (0..plan.kernels.len(), Some(plan.logits)),
            false => (plan.without_logits(), None),
        };
        self.run_kernels(entry, kernels, step, tokens, result).await
    }

    /// Runs some kernels of a step; returns the rows of an activation that they write, or nothing.
    ///
    /// # Errors
    /// `device-lost` and `out-of-memory` of the GPU.
    pub(super) async fn run_kernels(
        &mut self,
        RegisteredPlan { index, purpose, plan }: &RegisteredPlan,
        kernels: Range<usize>,
        step: Step,
        tokens: &[u32],
        result: Option<Activation>,
    ) -> Result<Vec<f32>> {
        if let Executor::Hybrid(hybrid) = self {
            hybrid.hand_over(*purpose, step.position).await?;
        }
        match self.runner(*purpose) {
            Runner::Gpu(gpu) => {
                gpu.write_tokens(tokens);
                gpu.run(*index, kernels, step, result);
                if let Some(result) = result {
                    return gpu.result(result, step).await;
                }
                gpu.keep_up().await?;
                Ok(Vec::new())
            }
            Runner::Cpu(cpu) => {
                cpu.write_tokens(tokens);
                cpu.run(*index, plan, kernels, step);
                let Some(result) = result else { return Ok(Vec::new()) };
                let words = cpu.read(result.buffer);
                let row = |row| &words[result.start(row)..][..result.width as usize];
                Ok((0..result.rows.count(step.rows)).flat_map(row).copied().collect())
            }
        }
    }

    /// Writes rows of a matrix in the format of the file, in order.
    pub(super) fn upload_rows(
        &mut self,
        matrix: &MatrixInfo,
        index: usize,
        first_row: u32,
        stored: &[u8],
    ) -> Result<()> {
        match self {
            Executor::Gpu(gpu) => gpu.upload_rows(matrix, index, first_row, stored),
            Executor::Cpu(cpu) => {
                cpu.upload_rows(index, stored);
                Ok(())
            }
            Executor::Hybrid(hybrid) => {
                hybrid.cpu.upload_rows(index, stored);
                hybrid.gpu.upload_rows(matrix, index, first_row, stored)
            }
        }
    }

    /// Writes words of a shared buffer from word `first` on.
    pub(super) fn write_shared(&mut self, index: usize, first: u64, words: &[f32]) {
        match self {
            Executor::Gpu(gpu) => gpu.write_shared(index, first, words),
            Executor::Cpu(cpu) => cpu.write_shared(index, first, words),
            Executor::Hybrid(hybrid) => {
                hybrid.cpu.write_shared(index, first, words);
                hybrid.gpu.write_shared(index, first, words);
            }
        }
    }

    /// Waits until all uploads have left host memory.
    pub(super) async fn flush(&self) -> Result<()> {
        match self.gpu() {
            Some(gpu) => gpu.flush().await,
            None => Ok(()),
        }
    }

    /// Compiles the pipelines of a plan; called once for each plan, in the order of their indices.
    pub(super) async fn prepare(&mut self, purpose: PlanPurpose, plan: &Plan) -> Result<()> {
        if let Runner::Gpu(gpu) = self.runner(purpose) {
            return gpu.prepare(plan).await;
        }
        if let Executor::Hybrid(hybrid) = self {
            hybrid.gpu.prepare_none();
        }
        Ok(())
    }

    /// Zeroes the state of the sequence.
    pub(super) fn clear_state(&mut self) {
        match self {
            Executor::Gpu(gpu) => gpu.clear_state(),
            Executor::Cpu(cpu) => cpu.clear_state(),
            Executor::Hybrid(hybrid) => hybrid.clear_state(),
        }
    }

    /// Copies state to the copies of a snapshot.
    pub(super) fn save_state(&mut self, set: usize, copies: &[(usize, usize)]) {
        match self {
            Executor::Gpu(gpu) => gpu.copy_shared(copies.iter().copied()),
            Executor::Cpu(cpu) => cpu.copy_shared(copies.iter().copied()),
            Executor::Hybrid(hybrid) => hybrid.save_state(set, copies),
        }
    }

    /// Copies a snapshot of `length` tokens back to the state.
    pub(super) fn restore_state(&mut self, set: usize, copies: &[(usize, usize)], length: usize) {
        let back = copies.iter().map(|(state, copy)| (*copy, *state));
        match self {
            Executor::Gpu(gpu) => gpu.copy_shared(back),
            Executor::Cpu(cpu) => cpu.copy_shared(back),
            Executor::Hybrid(hybrid) => hybrid.restore_state(set, back, length as u32),
        }
    }

    /// Drops the tokens that the GPU sampled and the host has not read; returns their number.
    pub(super) fn forget_samples(&mut self) -> usize {
        match self {
            Executor::Gpu(gpu) => gpu.forget_samples(),
            Executor::Cpu(_) | Executor::Hybrid(_) => 0,
        }
    }

    /// Words of shared buffers, one part after another.
    pub(super) async fn read_parts(&self, parts: &[StatePart]) -> Result<Vec<f32>> {
        match self {
            Executor::Gpu(gpu) => gpu.read_parts(parts).await,
            Executor::Cpu(cpu) => Ok(read_cpu_parts(cpu, parts)),
            Executor::Hybrid(hybrid) => hybrid.read_parts(parts).await,
        }
    }

    /// Words of shared buffers, as [`Self::read_parts`], or of the copies of a snapshot.
    pub(super) async fn read_saved(
        &self,
        parts: &[StatePart],
        set: Option<usize>,
    ) -> Result<Vec<f32>> {
        match (self, set) {
            (Executor::Hybrid(hybrid), Some(set)) => hybrid.read_snapshot(parts, set).await,
            _ => self.read_parts(parts).await,
        }
    }

    /// Notes that state of `length` tokens and all snapshots are being written to shared buffers.
    pub(super) fn begin_restore(&mut self, length: u32, sets: usize) {
        if let Executor::Hybrid(hybrid) = self {
            hybrid.begin_restore(length, sets);
        }
    }

    /// Description of the devices in use.
    pub(super) fn describe(&self) -> ExecutorDescription {
        match self {
            Executor::Gpu(gpu) => describe_gpu(gpu),
            Executor::Cpu(cpu) => describe_cpu(cpu),
            Executor::Hybrid(hybrid) => {
                let (gpu, cpu) = (describe_gpu(&hybrid.gpu), describe_cpu(&hybrid.cpu));
                ExecutorDescription {
                    backend: Backend::Hybrid,
                    adapter: format!("{} for prefill, {}", gpu.adapter, cpu.adapter),
                    features: [gpu.features, cpu.features].concat(),
                    threads: cpu.threads,
                }
            }
        }
    }

    /// Bytes allocated on the GPU.
    pub(super) fn gpu_bytes(&self) -> u64 {
        self.gpu().map_or(0, |gpu| gpu.gpu.allocated_bytes())
    }

    /// Bytes allocated for the CPU executor.
    pub(super) fn cpu_bytes(&self) -> u64 {
        match self {
            Executor::Gpu(_) => 0,
            Executor::Cpu(cpu) => cpu.allocated_bytes(),
            Executor::Hybrid(hybrid) => hybrid.cpu.allocated_bytes(),
        }
    }

    /// Pipelines compiled on the GPU.
    pub(super) fn pipeline_count(&self) -> usize {
        self.gpu().map_or(0, GpuExecutor::pipeline_count)
    }

    /// Cost of the last step on the GPU.
    pub(super) fn counters(&self) -> StepCounters {
        self.gpu().map(|gpu| gpu.counters).unwrap_or_default()
    }
}

fn read_cpu_parts(cpu: &CpuExecutor, parts: &[StatePart]) -> Vec<f32> {
    parts.iter().flat_map(|(index, range)| cpu_words(cpu, *index, range)).copied().collect()
}

fn cpu_words<'a>(cpu: &'a CpuExecutor, index: usize, range: &Range<u64>) -> &'a [f32] {
    &cpu.read(Buffer::Shared(index as u16))[range.start as usize..range.end as usize]
}

fn describe_gpu(gpu: &GpuExecutor) -> ExecutorDescription {
    let report = &gpu.gpu.report;
    ExecutorDescription {
        backend: Backend::WebGpu,
        adapter: format!("{} ({})", report.name, report.interface),
        features: report.features.clone(),
        threads: None,
    }
}

fn describe_cpu(cpu: &CpuExecutor) -> ExecutorDescription {
    let count = cpu.thread_count();
    let threads = if count == 1 { String::new() } else { format!(", {count} threads") };
    ExecutorDescription {
        backend: Backend::Cpu,
        adapter: format!("CPU ({}{threads})", std::env::consts::ARCH),
        features: vec![cpu.variant().name().to_owned()],
        threads: Some(count),
    }
}
