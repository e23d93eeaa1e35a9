//! Memory of a planned model: the buffers that an executor allocates, and their bytes by purpose.

use serde::Serialize;

use super::options::Backend;
use crate::cpu::{CpuVariant, matrix_bytes};
use crate::error::Result;
use crate::gpu::{MAX_SAMPLES_IN_FLIGHT, buffer_bytes};
use crate::kernels::{SampledToken, Step};
use crate::plan::{MatrixInfo, Resources, SharedBuffer, SharedRole, Slots, StateKind};

/// Bytes in use, by purpose.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Memory {
    /// Bytes of the weights, in the executor's layout.
    pub weights_bytes: u64,
    /// Bytes of the sequence's state: KV caches and recurrent state.
    pub state_bytes: u64,
    /// Bytes of the snapshots of state that cannot be truncated; 0 for a model without such state.
    pub snapshot_bytes: u64,
    /// Bytes of conversations that are kept outside of the device's memory.
    pub session_bytes: u64,
    /// Bytes of everything else: activations, tables, read-back.
    pub scratch_bytes: u64,
    /// Most bytes that were allocated on the GPU.
    pub peak_gpu_bytes: u64,
    /// Most bytes that were allocated for the CPU executor.
    pub peak_cpu_bytes: u64,
}

impl Memory {
    /// Bytes for all purposes.
    pub(super) fn sum(&self) -> u64 {
        self.weights_bytes + self.state_bytes + self.snapshot_bytes + self.scratch_bytes
    }
}

/// All buffers that an executor allocates for the plans of a model.
pub(super) struct BufferPlan<'a> {
    /// Matrices and the buffers that all plans share.
    pub(super) resources: Resources<'a>,
    /// Scratch buffers, each shared by activations of several plans.
    pub(super) slots: Slots,
    /// Length of the GPU's read-back buffer in 4-byte words.
    pub(super) staging_words: u64,
}

impl BufferPlan<'_> {
    /// Memory of the executors of a backend together.
    pub(super) fn memory(&self, backend: Backend, cpu_variant: CpuVariant) -> Result<Memory> {
        let gpu = if backend.uses_gpu() { self.gpu_memory() } else { Memory::default() };
        let cpu = match backend.uses_cpu() {
            true => self.cpu_memory(cpu_variant)?,
            false => Memory::default(),
        };
        Ok(Memory {
            weights_bytes: gpu.weights_bytes + cpu.weights_bytes,
            state_bytes: gpu.state_bytes + cpu.state_bytes,
            snapshot_bytes: gpu.snapshot_bytes + cpu.snapshot_bytes,
            session_bytes: 0,
            scratch_bytes: gpu.scratch_bytes + cpu.scratch_bytes,
            peak_gpu_bytes: gpu.peak_gpu_bytes,
            peak_cpu_bytes: cpu.peak_cpu_bytes,
        })
    }

    /// Memory of the GPU executor.
    pub(super) fn gpu_memory(&self) -> Memory {
        let planes = self.resources.matrices().iter().flat_map(planes);
        let matrices: u64 = planes.map(|(_, bytes)| buffer_bytes(bytes)).sum();
        let fixed = buffer_bytes(self.staging_words * 4) + buffer_bytes(size_of::<Step>() as u64);
        let samples = MAX_SAMPLES_IN_FLIGHT as u64 * buffer_bytes(size_of::<SampledToken>() as u64);
        let memory = self.by_purpose(matrices, fixed + samples, buffer_bytes);
        Memory { peak_gpu_bytes: memory.sum(), ..memory }
    }

    /// Memory of the CPU executor.
    ///
    /// # Errors
    /// Errors of a matrix whose columns are not a multiple of its format's block.
    pub(super) fn cpu_memory(&self, variant: CpuVariant) -> Result<Memory> {
        let matrices = self.resources.matrices().iter();
        let bytes = matrices.map(|matrix| matrix_bytes(matrix, variant));
        let memory = self.by_purpose(bytes.sum::<Result<u64>>()?, 0, |bytes| bytes);
        Ok(Memory { peak_cpu_bytes: memory.sum(), ..memory })
    }

    /// Memory of an executor by purpose, from the bytes of its matrices and of its other private
    /// buffers. `padded` returns the bytes allocated for a buffer.
    fn by_purpose(&self, matrices: u64, private: u64, padded: fn(u64) -> u64) -> Memory {
        let shared = |is_wanted: fn(&SharedRole) -> bool| -> u64 {
            let buffers = self.resources.shared().iter().filter(|buffer| is_wanted(&buffer.role));
            buffers.map(|buffer| padded(buffer.words * 4)).sum()
        };
        let other = |role: &SharedRole| {
            matches!(role, SharedRole::Tokens | SharedRole::RotaryTable(_) | SharedRole::Sampling)
        };
        let slots: u64 = self.slots.words.iter().map(|words| padded(words * 4)).sum();
        Memory {
            weights_bytes: matrices + shared(|role| matches!(role, SharedRole::Vector(_))),
            state_bytes: shared(|role| matches!(role, SharedRole::State(_))),
            snapshot_bytes: shared(|role| matches!(role, SharedRole::Snapshot(_))),
            scratch_bytes: shared(other) + slots + private,
            ..Memory::default()
        }
    }

    /// Bytes that the buffers with a row for each position, or each of the last, would have at a
    /// context length of at most the planned one.
    pub(super) fn bytes_at(&self, context_length: u32) -> u64 {
        let words = |buffer: &SharedBuffer| match &buffer.role {
            SharedRole::State(StateKind::Positions(rows)) => {
                let length = rows.ring.map_or(context_length, |ring| ring.length);
                rows.words() * u64::from(length.min(context_length))
            }
            SharedRole::RotaryTable(table) => {
                buffer.words / u64::from(table.context_length) * u64::from(context_length)
            }
            _ => 0,
        };
        self.resources.shared().iter().map(|buffer| words(buffer) * 4).sum()
    }

    /// Name and bytes of the largest GPU buffer that a shader binds. The read-back buffer, which
    /// holds copies of these, is never larger.
    pub(super) fn largest_gpu_buffer(&self) -> (String, u64) {
        let matrices = self.resources.matrices().iter().flat_map(planes);
        let shared = self.resources.shared().iter();
        let shared = shared.map(|buffer| (buffer.name.clone(), buffer.words * 4));
        let slots = self.slots.words.iter().map(|words| ("activations".to_owned(), words * 4));
        let all = matrices.chain(shared).chain(slots);
        let all = all.map(|(name, bytes)| (name, buffer_bytes(bytes)));
        all.max_by_key(|(_, bytes)| *bytes).unwrap_or_default()
    }
}

/// Name and bytes of every plane of a matrix, part by part.
fn planes(matrix: &MatrixInfo) -> impl Iterator<Item = (String, u64)> {
    let planes = (0..matrix.part_count()).flat_map(|part| matrix.plane_bytes(part));
    planes.map(|bytes| (matrix.name(), bytes))
}
