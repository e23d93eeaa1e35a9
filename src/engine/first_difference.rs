//! Debugger of kernels: runs a plan on both executors, kernel by kernel, and names the first buffer
//! that differs.

use crate::cpu::CpuExecutor;
use crate::error::Result;
use crate::gpu::GpuExecutor;
use crate::kernels::{Buffer, Step};
use crate::plan::Plan;

/// First output in which two executors differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Index of the kernel in the plan.
    pub kernel_index: usize,
    /// Label of the kernel: its place in the model and its name.
    pub label: String,
    /// Buffer that it wrote.
    pub buffer: Buffer,
    /// Index of the value that differs most.
    pub index: usize,
    /// Value on the CPU.
    pub expected: f32,
    /// Value on the GPU.
    pub found: f32,
    /// Normalized mean squared error of the whole buffer.
    pub error: f64,
}

/// Normalized mean squared error, `Σ (found − expected)² / Σ expected²`; infinite if a value is not
/// a number.
pub fn normalized_error(expected: &[f32], found: &[f32]) -> f64 {
    let (mut difference, mut size) = (0.0, 0.0);
    for (expected, found) in expected.iter().zip(found) {
        difference += (f64::from(*expected) - f64::from(*found)).powi(2);
        size += f64::from(*expected).powi(2);
    }
    let error = if size == 0.0 { difference } else { difference / size };
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Runs one step of a plan on both executors, which hold the same model and state, kernel by
/// kernel. Returns the first output with a normalized error above `bound`; `None` if there is none.
///
/// # Errors
/// Errors of the GPU.
pub async fn first_difference(
    plan_index: usize,
    plan: &Plan,
    cpu: &mut CpuExecutor,
    gpu: &mut GpuExecutor,
    step: Step,
    bound: f64,
) -> Result<Option<Difference>> {
    for (kernel_index, planned) in plan.kernels.iter().enumerate() {
        let range = kernel_index..kernel_index + 1;
        cpu.run(plan_index, plan, range.clone(), step);
        gpu.run(plan_index, range, step, None);
        for binding in planned.kernel.bindings().iter().filter(|binding| binding.write) {
            let words = gpu.read(plan_index, binding.buffer).await?;
            let found = cpu.decode(binding.buffer, &words);
            let expected = cpu.decode(binding.buffer, cpu.read(binding.buffer));
            let error = normalized_error(&expected, &found);
            if error > bound {
                let distance = |index: &usize| f64::from((expected[*index] - found[*index]).abs());
                let furthest =
                    (0..expected.len()).max_by(|a, b| distance(a).total_cmp(&distance(b)));
                let index = furthest.unwrap_or(0);
                return Ok(Some(Difference {
                    kernel_index,
                    label: planned.label.clone(),
                    buffer: binding.buffer,
                    index,
                    expected: expected[index],
                    found: found[index],
                    error,
                }));
            }
        }
    }
    Ok(None)
}
