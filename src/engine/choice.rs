//! GPU or CPU, by measuring: a product of the model's own on both, before any weight is read.

use std::rc::Rc;

use serde::Serialize;
use web_time::Instant;

use super::executor::Executor;
use super::load::{DeviceChoice, Planned, STEP_PLAN};
use super::milliseconds;
use crate::cpu::CpuExecutor;
use crate::error::Result;
use crate::formats::Format;
use crate::gpu::{Gpu, GpuExecutor};
use crate::kernels::{Rows, Step};
use crate::plan::{Plan, PlanBuilder, Resources, TensorShapes, assign_slots};

/// Weights of the matrix that is measured: a millisecond for a software adapter.
const WEIGHTS: u32 = 1 << 17;
/// Products in the shorter and in the longer step: what both take besides is not in the difference, which
/// must stand out from what a browser adds to a read-back, milliseconds now and then, and from the tenths
/// of a millisecond in which its clock tells time.
const PRODUCTS: [usize; 2] = [1, 33];
/// How often each step is measured, after one that is not; the quickest counts.
const RUNS: usize = 3;
/// More weights than this are not for the CPU: half of what memory with 32-bit addresses can hold.
const CPU_BYTES_MAX: u64 = isize::MAX as u64 / 2;

/// What a token of the model is predicted to take: time that goes by its bytes of weights.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Prediction {
    /// On the GPU, in milliseconds.
    pub gpu_token_ms: f64,
    /// On the CPU, in milliseconds.
    pub cpu_token_ms: f64,
}

/// The GPU where it stays, the prediction if there was a choice, and why the GPU is not taken if so.
pub(super) async fn quicker(
    device: DeviceChoice,
    gpu: Option<Rc<Gpu>>,
    planned: &Planned<'_>,
) -> Result<(Option<Rc<Gpu>>, Option<Prediction>, Option<String>)> {
    let Some(gpu) = gpu else { return Ok((None, None, None)) };
    if device != DeviceChoice::Auto {
        return Ok((Some(gpu), None, None));
    }
    let Some(predicted) = Prediction::of(planned, &gpu).await? else { return Ok((Some(gpu), None, None)) };
    let Prediction { gpu_token_ms, cpu_token_ms } = predicted;
    if gpu_token_ms <= cpu_token_ms {
        return Ok((Some(gpu), Some(predicted), None));
    }
    let adapter = &gpu.report.name;
    let reason =
        format!("a token is predicted to take {cpu_token_ms:.0} ms on it, {gpu_token_ms:.0} ms on {adapter}");
    Ok((None, Some(predicted), Some(reason)))
}

impl Prediction {
    /// Measures both; none where there is no choice: a model without matrices, or too large for the CPU.
    async fn of(planned: &Planned<'_>, gpu: &Rc<Gpu>) -> Result<Option<Self>> {
        let plan = &planned.plans[STEP_PLAN];
        let Some(tensor) = Sample::of(planned) else { return Ok(None) };
        if planned.memory().weights_bytes > CPU_BYTES_MAX {
            return Ok(None);
        }
        let mut resources = Resources::new(&tensor, gpu.report.max_bound_bytes());
        let plans = PRODUCTS.map(|products| {
            let mut sample = tensor.plan(&mut resources, products);
            sample.vary(planned.variant);
            sample
        });
        let slots = assign_slots(&plans.iter().collect::<Vec<_>>());
        let allocated = gpu.allocated_bytes();
        let on_gpu =
            GpuExecutor::new(gpu.clone(), &resources, slots.clone(), plans[0].logits.words(1)).await?;
        let on_cpu = CpuExecutor::new(&resources, slots, planned.cpu_variant)?;
        let executors = [Executor::Gpu(Box::new(on_gpu)), Executor::Cpu(Box::new(on_cpu))];
        let products = plans[1].weight_bytes() - plans[0].weight_bytes();
        let mut token_ms = [0.0; 2];
        for (token_ms, mut executor) in token_ms.iter_mut().zip(executors) {
            let stored = vec![0; tensor.format.row_bytes(tensor.shape[1])? * tensor.shape[0]];
            executor.upload_rows(&resources.matrices()[0], 0, 0, &stored)?;
            let measured = difference(&mut executor, &plans).await?;
            *token_ms = measured / products as f64 * plan.weight_bytes() as f64;
        }
        gpu.freed(gpu.allocated_bytes() - allocated);
        let [gpu_token_ms, cpu_token_ms] = token_ms;
        Ok(Some(Self { gpu_token_ms, cpu_token_ms }))
    }
}

/// Milliseconds that the second plan takes longer than the first.
async fn difference(executor: &mut Executor, plans: &[Plan; 2]) -> Result<f64> {
    for plan in plans {
        executor.prepare(plan).await?;
    }
    let mut best = [f64::INFINITY; 2];
    for run in 0..=RUNS {
        for (index, plan) in plans.iter().enumerate() {
            let started = Instant::now();
            executor.run(index, plan, Step { position: 0, rows: 1 }, &[], true).await?;
            if run > 0 {
                best[index] = best[index].min(milliseconds(started));
            }
        }
    }
    Ok((best[1] - best[0]).max(0.0))
}

/// A matrix like the model's: in the format that most of its weights have, as wide as the largest of
/// these, of some rows.
struct Sample {
    format: Format,
    shape: [usize; 2],
}

impl TensorShapes for Sample {
    fn tensor(&self, _: &str) -> Option<(Format, &[usize])> {
        Some((self.format, &self.shape))
    }
}

impl Sample {
    fn of(planned: &Planned<'_>) -> Option<Self> {
        let matrices = planned.resources.matrices();
        let weights = |format: Format| -> u64 {
            let held = matrices.iter().filter(|matrix| matrix.format == format);
            held.map(|matrix| u64::from(matrix.rows) * u64::from(matrix.columns)).sum()
        };
        let format = matrices.iter().map(|matrix| matrix.format).max_by_key(|format| weights(*format))?;
        let held = matrices.iter().filter(|matrix| matrix.format == format);
        let matrix = held.max_by_key(|matrix| u64::from(matrix.rows) * u64::from(matrix.columns))?;
        let rows = (WEIGHTS / matrix.columns).clamp(1, matrix.rows);
        Some(Self { format, shape: [rows as usize, matrix.columns as usize] })
    }

    fn plan(&self, resources: &mut Resources<'_>, products: usize) -> Plan {
        let [rows, columns] = self.shape.map(|axis| axis as u32);
        let matrix = resources.weight_matrix("sample", rows, columns);
        let mut plan = PlanBuilder::new(resources, 1);
        let x = plan.input(Rows::One, columns);
        let mut y = x;
        for _ in 0..products {
            y = plan.matmul(matrix, x);
        }
        plan.finish(y)
    }
}
