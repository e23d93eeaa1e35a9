//! One face for the two executors, and for both together.

use super::Device;
use super::shared::Shared;
use crate::cpu::CpuExecutor;
use crate::error::Result;
use crate::gpu::{GpuExecutor, StepCounters};
use crate::kernels::{Buffer, Step};
use crate::plan::{MatrixInfo, Plan};

/// Where the model's memory is and its plans run.
pub(crate) enum Executor {
    Gpu(Box<GpuExecutor>),
    Cpu(Box<CpuExecutor>),
    Shared(Box<Shared>),
}

/// The one of the two that runs a plan.
pub(super) enum Runner<'a> {
    Gpu(&'a mut GpuExecutor),
    Cpu(&'a mut CpuExecutor),
}

impl Executor {
    /// The GPU, if it is one of those in use.
    fn gpu(&self) -> Option<&GpuExecutor> {
        match self {
            Executor::Gpu(gpu) => Some(gpu),
            Executor::Cpu(_) => None,
            Executor::Shared(shared) => Some(&shared.gpu),
        }
    }

    /// Which of the two runs a plan.
    pub(super) fn runner(&mut self, plan_index: usize) -> Runner<'_> {
        match self {
            Executor::Gpu(gpu) => Runner::Gpu(gpu),
            Executor::Cpu(cpu) => Runner::Cpu(cpu),
            Executor::Shared(shared) => shared.runner(plan_index),
        }
    }

    /// Runs a step; returns the plan's logits if `wanted`.
    pub(crate) async fn run(
        &mut self,
        plan_index: usize,
        plan: &Plan,
        step: Step,
        tokens: &[u32],
        wanted: bool,
    ) -> Result<Vec<f32>> {
        let range = if wanted { 0..plan.kernels.len() } else { plan.without_logits() };
        if let Executor::Shared(shared) = self {
            shared.hand_over(plan_index, step.position).await?;
        }
        match self.runner(plan_index) {
            Runner::Gpu(gpu) => {
                gpu.write_tokens(tokens);
                gpu.run(plan_index, range, step, wanted.then_some(plan.logits));
                if wanted {
                    return gpu.result(plan.logits, step).await;
                }
                gpu.keep_up().await?;
                Ok(Vec::new())
            }
            Runner::Cpu(cpu) => {
                cpu.write_tokens(tokens);
                cpu.run(plan_index, plan, range, step);
                if !wanted {
                    return Ok(Vec::new());
                }
                let words = cpu.read(plan.logits.buffer);
                let row = |row| &words[plan.logits.start(row)..][..plan.logits.width as usize];
                Ok((0..plan.logits.rows.count(step.rows)).flat_map(row).copied().collect())
            }
        }
    }

    /// Writes stored rows of a matrix, in order.
    pub(crate) fn upload_rows(
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
            Executor::Shared(shared) => {
                shared.cpu.upload_rows(index, stored);
                shared.gpu.upload_rows(matrix, index, first_row, stored)
            }
        }
    }

    /// Writes a shared buffer from word `first` on.
    pub(crate) fn write_shared(&mut self, index: usize, first: u64, words: &[f32]) {
        match self {
            Executor::Gpu(gpu) => gpu.write_shared(index, first, words),
            Executor::Cpu(cpu) => cpu.write_shared(index, first, words),
            Executor::Shared(shared) => {
                shared.cpu.write_shared(index, first, words);
                shared.gpu.write_shared(index, first, words);
            }
        }
    }

    /// Waits until uploads have left host memory.
    pub(crate) async fn flush(&self) -> Result<()> {
        match self.gpu() {
            Some(gpu) => gpu.flush().await,
            None => Ok(()),
        }
    }

    /// Makes a plan ready to run; in the order of the plans' slots.
    pub(crate) async fn prepare(&mut self, plan_index: usize, plan: &Plan) -> Result<()> {
        if let Runner::Gpu(gpu) = self.runner(plan_index) {
            return gpu.prepare(plan).await;
        }
        if let Executor::Shared(shared) = self {
            shared.gpu.prepare_none();
        }
        Ok(())
    }

    /// Zeroes what the sequence carries.
    pub(crate) fn clear_state(&mut self) {
        match self {
            Executor::Gpu(gpu) => gpu.clear_state(),
            Executor::Cpu(cpu) => cpu.clear_state(),
            Executor::Shared(shared) => shared.clear_state(),
        }
    }

    /// Forgets the tokens that the GPU chose and that are not here yet; returns how many.
    pub(crate) fn forget_picks(&mut self) -> usize {
        match self {
            Executor::Gpu(gpu) => gpu.forget_picks(),
            Executor::Cpu(_) | Executor::Shared(_) => 0,
        }
    }

    /// The words of a shared buffer: slow, for comparisons.
    pub(crate) async fn read_shared(&self, index: usize) -> Result<Vec<f32>> {
        let buffer = Buffer::Shared(index as u16);
        match self {
            Executor::Gpu(gpu) => gpu.read(0, buffer).await,
            Executor::Cpu(cpu) => Ok(cpu.read(buffer).to_vec()),
            Executor::Shared(shared) => shared.read_shared(index).await,
        }
    }

    /// What it runs on.
    pub(crate) fn device(&self) -> Device {
        let of_gpu = |gpu: &GpuExecutor| Device {
            backend: "gpu".to_owned(),
            adapter: format!("{} ({})", gpu.gpu.report.name, gpu.gpu.report.interface),
            features: gpu.gpu.report.features.clone(),
            threads: None,
            predicted: None,
        };
        let of_cpu = |cpu: &CpuExecutor| {
            let count = cpu.thread_count();
            let threads = if count == 1 { String::new() } else { format!(", {count} threads") };
            let adapter = format!("CPU ({}{threads})", std::env::consts::ARCH);
            let features = vec![cpu.variant().name().to_owned()];
            Device {
                backend: "cpu".to_owned(),
                adapter,
                features,
                threads: Some(count),
                predicted: None,
            }
        };
        match self {
            Executor::Gpu(gpu) => of_gpu(gpu),
            Executor::Cpu(cpu) => of_cpu(cpu),
            Executor::Shared(shared) => {
                let (gpu, cpu) = (of_gpu(&shared.gpu), of_cpu(&shared.cpu));
                let adapter = format!("{} for prompts, {}", gpu.adapter, cpu.adapter);
                let features = [gpu.features, cpu.features].concat();
                Device { backend: "shared".to_owned(), adapter, features, ..cpu }
            }
        }
    }

    /// Bytes allocated on the GPU.
    pub(crate) fn gpu_bytes(&self) -> u64 {
        self.gpu().map_or(0, |gpu| gpu.gpu.allocated_bytes())
    }

    /// Bytes allocated for the CPU to compute with.
    pub(crate) fn cpu_bytes(&self) -> u64 {
        match self {
            Executor::Gpu(_) => 0,
            Executor::Cpu(cpu) => cpu.allocated_bytes(),
            Executor::Shared(shared) => shared.cpu.allocated_bytes(),
        }
    }

    /// Pipelines compiled on the GPU.
    pub(crate) fn pipeline_count(&self) -> usize {
        self.gpu().map_or(0, GpuExecutor::pipeline_count)
    }

    /// What the last step on the GPU cost.
    pub(crate) fn counters(&self) -> StepCounters {
        self.gpu().map(|gpu| gpu.counters).unwrap_or_default()
    }
}
