//! What a planned model takes of the memory of a GPU or of the CPU, and why it cannot have that much.

use serde::Serialize;

use super::load::{LoadOptions, Planned};
use crate::cpu::{heap_bytes, matrix_bytes};
use crate::error::{Code, Error, Result};
use crate::gpu::{AdapterReport, MAX_PICKS, buffer_bytes};
use crate::kernels::{Picked, Step};
use crate::plan::{MatrixInfo, SharedRole, StateKind};
use crate::weights::Checkpoint;

/// What 32 bits can address: the most that a tab has for a model on the CPU.
const ADDRESSABLE_BYTES: u64 = 1 << 32;
/// What of it a load needs besides what it keeps: pieces of the file, and rows of a prompt between kernels.
const IN_PASSING_BYTES: u64 = 64 << 20;

/// What a model may take of memory for each byte of its weights, and besides. Real ones take far less: weights are
/// padded, widened from 16 bits to 32, and joined by the state of 4096 positions.
const BYTES_PER_STORED_BYTE: u64 = 4;
const BYTES_BESIDE: u64 = 512 << 20;

/// Bytes by what they are for.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// Weights, as the executor holds them.
    pub weights_bytes: u64,
    /// What a sequence carries.
    pub state_bytes: u64,
    /// Everything else: activations, tables, read-back.
    pub scratch_bytes: u64,
    /// The most that was allocated on the GPU.
    pub peak_gpu_bytes: u64,
    /// The most that was allocated for the CPU to compute with.
    pub peak_cpu_bytes: u64,
}

impl Memory {
    /// Bytes altogether.
    fn sum(&self) -> u64 {
        self.weights_bytes + self.state_bytes + self.scratch_bytes
    }
}

impl LoadOptions {
    /// Bytes that a model on the CPU may take.
    fn cpu_allowed(&self) -> u64 {
        let in_a_tab =
            || heap_bytes().map(|held| ADDRESSABLE_BYTES.saturating_sub(held + IN_PASSING_BYTES));
        self.cpu_bytes.or_else(in_a_tab).unwrap_or(u64::MAX)
    }
}

impl Planned<'_> {
    /// Bytes by what they are for: the sum of the buffers that the GPU executor makes.
    pub(super) fn memory(&self) -> Memory {
        let planes = self.resources.matrices().iter().flat_map(planes);
        let matrices: u64 = planes.map(|(_, bytes)| buffer_bytes(bytes)).sum();
        let own = buffer_bytes(self.staging_words * 4) + buffer_bytes(size_of::<Step>() as u64);
        let ring = MAX_PICKS as u64 * buffer_bytes(size_of::<Picked>() as u64);
        let memory = self.buffers(matrices, own + ring, buffer_bytes);
        Memory { peak_gpu_bytes: memory.sum(), ..memory }
    }

    /// Likewise of the executor in use.
    pub(super) fn memory_of(&self, on_gpu: bool) -> Result<Memory> {
        let on = |has: bool, memory: Memory| if has { memory } else { Memory::default() };
        let (gpu, cpu) =
            (on(on_gpu, self.memory()), on(self.is_shared || !on_gpu, self.cpu_memory()?));
        Ok(Memory {
            weights_bytes: gpu.weights_bytes + cpu.weights_bytes,
            state_bytes: gpu.state_bytes + cpu.state_bytes,
            scratch_bytes: gpu.scratch_bytes + cpu.scratch_bytes,
            peak_gpu_bytes: gpu.peak_gpu_bytes,
            peak_cpu_bytes: cpu.peak_cpu_bytes,
        })
    }

    /// Likewise of the CPU executor.
    pub(super) fn cpu_memory(&self) -> Result<Memory> {
        let matrices = self.resources.matrices().iter();
        let bytes = matrices.map(|matrix| matrix_bytes(matrix, self.cpu_variant));
        let memory = self.buffers(bytes.sum::<Result<u64>>()?, 0, |bytes| bytes);
        Ok(Memory { peak_cpu_bytes: memory.sum(), ..memory })
    }

    /// What both make, each of at least the bytes that it is for.
    fn buffers(&self, matrices: u64, own: u64, size_of: fn(u64) -> u64) -> Memory {
        let shared = |wanted: fn(&SharedRole) -> bool| -> u64 {
            let buffers = self.resources.shared().iter().filter(|buffer| wanted(&buffer.role));
            buffers.map(|buffer| size_of(buffer.words * 4)).sum()
        };
        let other = |role: &SharedRole| {
            matches!(role, SharedRole::Tokens | SharedRole::RotaryTable(_) | SharedRole::Sampling)
        };
        let slots: u64 = self.slots.words.iter().map(|words| size_of(words * 4)).sum();
        Memory {
            weights_bytes: matrices + shared(|role| matches!(role, SharedRole::Vector(_))),
            state_bytes: shared(|role| matches!(role, SharedRole::State(_))),
            scratch_bytes: shared(other) + slots + own,
            ..Memory::default()
        }
    }

    /// The largest buffer that shaders bind, and what it is for. The read-back is no larger: it is
    /// a copy of one.
    pub(super) fn largest_buffer(&self) -> (String, u64) {
        let matrices = self.resources.matrices().iter().flat_map(planes);
        let shared =
            self.resources.shared().iter().map(|buffer| (buffer.name.clone(), buffer.words * 4));
        let slots = self.slots.words.iter().map(|words| ("activations".to_owned(), words * 4));
        let all =
            matrices.chain(shared).chain(slots).map(|(name, bytes)| (name, buffer_bytes(bytes)));
        all.max_by_key(|(_, bytes)| *bytes).unwrap_or_default()
    }

    /// Why this cannot be on such a GPU, if so: what is too large there, and what would not be.
    pub(super) fn misfit(
        &self,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        adapter: &AdapterReport,
    ) -> Option<String> {
        let (name, needed) = self.largest_buffer();
        let allowed = adapter.max_bound_bytes();
        if needed <= allowed {
            return None;
        }
        let advice = self.advice(checkpoint, options, allowed, allowed, |planned| {
            Ok(planned.largest_buffer().1)
        });
        let length = self.context_length;
        Some(format!(
            "{}: {name} needs a buffer of {needed} bytes at a context of {length}, this GPU allows {allowed}; {advice}",
            checkpoint.name
        ))
    }

    /// The context, or a shorter one where it is not asked for and would take memory out of all proportion to
    /// the weights; `unsupported-format` where everything else does. So a small file, whatever numbers it
    /// states, is no large model.
    pub(super) fn proportionate_context(
        &self,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
    ) -> Result<u32> {
        let stored = checkpoint
            .tensors
            .values()
            .fold(0, |sum: u64, tensor| sum.saturating_add(tensor.size_bytes));
        let allowed = stored.saturating_mul(BYTES_PER_STORED_BYTE).saturating_add(BYTES_BESIDE);
        let by_position = self.resources.shared().iter().filter(|buffer| {
            matches!(
                buffer.role,
                SharedRole::State(StateKind::Positions(_)) | SharedRole::RotaryTable(_)
            )
        });
        let by_position: u64 = by_position.map(|buffer| buffer.words * 4).sum();
        let taken = self.memory().sum().max(self.cpu_memory()?.sum()) - by_position;
        if taken > allowed {
            let message = format!(
                "{}: would take {taken} bytes of memory, expected at most {allowed} of a model with {stored} bytes of weights",
                checkpoint.name
            );
            return Err(Error::new(Code::UnsupportedFormat, message));
        }
        let position = by_position.div_ceil(self.context_length.into()).max(1);
        let fitting = u32::try_from((allowed - taken) / position).unwrap_or(u32::MAX).max(1);
        let is_asked_for = options.context_length.is_some();
        Ok(if is_asked_for { self.context_length } else { self.context_length.min(fitting) })
    }

    /// Whether the CPU can have this.
    pub(super) fn fits_cpu(&self, options: &LoadOptions) -> bool {
        self.cpu_memory().is_ok_and(|memory| memory.peak_cpu_bytes <= options.cpu_allowed())
    }

    /// Why the CPU cannot have this, if so.
    pub(super) fn cpu_misfit(
        &self,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
    ) -> Result<Option<String>> {
        let (needed, allowed) = (self.cpu_memory()?.peak_cpu_bytes, options.cpu_allowed());
        if needed <= allowed {
            return Ok(None);
        }
        let taken = |planned: &Planned<'_>| Ok(planned.cpu_memory()?.peak_cpu_bytes);
        let advice = self.advice(checkpoint, options, u64::MAX, allowed, taken);
        let length = self.context_length;
        Ok(Some(format!(
            "{}: needs {needed} bytes of memory at a context of {length}, there are {allowed}; {advice}",
            checkpoint.name
        )))
    }

    /// The error where the system gave less than this needs, after so many bytes of the heap.
    pub(super) fn no_room(
        &self,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        held: Option<u64>,
        error: Error,
    ) -> Error {
        let given = heap_bytes().zip(held).map(|(now, before)| now - before);
        let options = LoadOptions { cpu_bytes: given, ..options.clone() };
        match (given, self.cpu_misfit(checkpoint, &options)) {
            (Some(_), Ok(Some(misfit))) => Error::new(error.code(), misfit),
            _ => error,
        }
    }

    /// Which shorter context would do with what is allowed.
    fn advice(
        &self,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        max_binding_bytes: u64,
        allowed: u64,
        needed: impl Fn(&Planned<'_>) -> Result<u64>,
    ) -> String {
        let fits = |length: &u32| {
            let options = LoadOptions { context_length: Some(*length), ..options.clone() };
            let planned = Planned::new(checkpoint, &options, max_binding_bytes);
            planned.and_then(|planned| needed(&planned)).is_ok_and(|needed| needed <= allowed)
        };
        let shorter =
            std::iter::successors(Some(self.context_length / 2), |length| Some(length / 2));
        match shorter.take_while(|length| *length > 0).find(fits) {
            Some(length) => format!("a context of {length} fits"),
            None => "no context is short enough".to_owned(),
        }
    }
}

/// The planes of a matrix, part by part: its name and their bytes.
fn planes(matrix: &MatrixInfo) -> impl Iterator<Item = (String, u64)> {
    let planes = (0..matrix.part_count()).flat_map(|part| matrix.plane_bytes(part));
    planes.map(|bytes| (matrix.name(), bytes))
}
