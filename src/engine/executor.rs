//! One face for the two executors.

use super::Device;
use crate::cpu::CpuExecutor;
use crate::error::Result;
use crate::gpu::{GpuExecutor, StepCounters};
use crate::kernels::{Buffer, Step};
use crate::plan::{MatrixInfo, Plan};

/// Where the model's memory is and its plans run.
pub(crate) enum Executor {
    Gpu(Box<GpuExecutor>),
    Cpu(Box<CpuExecutor>),
}

impl Executor {
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
        match self {
            Executor::Gpu(gpu) => {
                gpu.write_tokens(tokens);
                gpu.run(plan_index, range, step, wanted.then_some(plan.logits));
                if wanted {
                    return gpu.result(plan.logits, step).await;
                }
                gpu.keep_up().await?;
                Ok(Vec::new())
            }
            Executor::Cpu(cpu) => {
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
        }
    }

    /// Writes a shared buffer from word `first` on.
    pub(crate) fn write_shared(&mut self, index: usize, first: u64, words: &[f32]) {
        match self {
            Executor::Gpu(gpu) => gpu.write_shared(index, first, words),
            Executor::Cpu(cpu) => cpu.write_shared(index, first, words),
        }
    }

    /// Waits until uploads have left host memory.
    pub(crate) async fn flush(&self) -> Result<()> {
        match self {
            Executor::Gpu(gpu) => gpu.flush().await,
            Executor::Cpu(_) => Ok(()),
        }
    }

    /// Makes a plan ready to run; in the order of the plans' slots.
    pub(crate) async fn prepare(&mut self, plan: &Plan) -> Result<()> {
        match self {
            Executor::Gpu(gpu) => gpu.prepare(plan).await,
            Executor::Cpu(_) => Ok(()),
        }
    }

    /// Zeroes what the sequence carries.
    pub(crate) fn clear_state(&mut self) {
        match self {
            Executor::Gpu(gpu) => gpu.clear_state(),
            Executor::Cpu(cpu) => cpu.clear_state(),
        }
    }

    /// Forgets the tokens that the GPU chose and that are not here yet; returns how many.
    pub(crate) fn forget_picks(&mut self) -> usize {
        match self {
            Executor::Gpu(gpu) => gpu.forget_picks(),
            Executor::Cpu(_) => 0,
        }
    }

    /// The words of a shared buffer: slow, for comparisons.
    pub(crate) async fn read_shared(&self, index: usize) -> Result<Vec<f32>> {
        let buffer = Buffer::Shared(index as u16);
        match self {
            Executor::Gpu(gpu) => gpu.read(0, buffer).await,
            Executor::Cpu(cpu) => Ok(cpu.read(buffer).to_vec()),
        }
    }

    /// What it runs on.
    pub(crate) fn device(&self) -> Device {
        match self {
            Executor::Gpu(gpu) => Device {
                backend: "gpu".to_owned(),
                adapter: format!("{} ({})", gpu.gpu.report.name, gpu.gpu.report.interface),
                features: gpu.gpu.report.features.clone(),
                predicted: None,
            },
            Executor::Cpu(cpu) => {
                let threads = match cpu.thread_count() {
                    1 => String::new(),
                    count => format!(", {count} threads"),
                };
                let adapter = format!("CPU ({}{threads})", std::env::consts::ARCH);
                let features = vec![cpu.variant().name().to_owned()];
                Device { backend: "cpu".to_owned(), adapter, features, predicted: None }
            }
        }
    }

    /// Bytes allocated on the GPU.
    pub(crate) fn gpu_bytes(&self) -> u64 {
        match self {
            Executor::Gpu(gpu) => gpu.gpu.allocated_bytes(),
            Executor::Cpu(_) => 0,
        }
    }

    /// Pipelines compiled on the GPU.
    pub(crate) fn pipeline_count(&self) -> usize {
        match self {
            Executor::Gpu(gpu) => gpu.pipeline_count(),
            Executor::Cpu(_) => 0,
        }
    }

    /// What the last step cost.
    pub(crate) fn counters(&self) -> StepCounters {
        match self {
            Executor::Gpu(gpu) => gpu.counters,
            Executor::Cpu(_) => StepCounters::default(),
        }
    }
}
