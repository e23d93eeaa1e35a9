//! Fit of a planned model to the memory of a GPU or of the CPU, and the context length that would
//! fit where the planned one does not.

use super::options::{HostServices, ResolvedOptions};
use super::planning::PlannedModel;
use crate::cpu::heap_bytes;
use crate::error::{Error, Result};
use crate::gpu::AdapterReport;

/// Bytes that 32-bit addresses can reach: the most that a wasm instance can have.
const ADDRESSABLE_BYTES: u64 = 1 << 32;
/// Bytes of [`ADDRESSABLE_BYTES`] kept free for a load: pieces of the file, and temporary buffers
/// of the kernels.
const TRANSIENT_BYTES: u64 = 64 << 20;

/// Bytes that the CPU executor of a model may allocate now.
pub(super) fn available_cpu_bytes(host: &HostServices) -> u64 {
    let in_wasm =
        || heap_bytes().map(|held| ADDRESSABLE_BYTES.saturating_sub(held + TRANSIENT_BYTES));
    host.max_cpu_bytes.or_else(in_wasm).unwrap_or(u64::MAX)
}

impl PlannedModel<'_> {
    /// Reason why an adapter cannot hold the model, and a context length that fits; `None` if it
    /// can.
    pub(super) fn gpu_misfit(&self, adapter: &AdapterReport) -> Option<String> {
        let (name, needed) = self.buffers.largest_gpu_buffer();
        let allowed = adapter.max_bound_bytes();
        if needed <= allowed {
            return None;
        }
        let length = self.options.context_length;
        let advice = self.advice(|planned| Ok(planned.buffers.largest_gpu_buffer().1 <= allowed));
        Some(format!(
            "{}: {name}: needs a buffer of {needed} bytes at a context length of {length}, \
             {allowed} allowed by this GPU; {advice}",
            self.checkpoint.name
        ))
    }

    /// True if the CPU executor needs no more than `available` bytes.
    pub(super) fn fits_cpu(&self, available: u64) -> bool {
        self.cpu_memory().is_ok_and(|memory| memory.peak_cpu_bytes <= available)
    }

    /// The model with its snapshots, or without if the CPU lacks memory for them.
    pub(super) fn fitted(self, available: u64) -> Result<Self> {
        let options = &self.options;
        if !options.backend.uses_cpu() || options.snapshots == 0 || self.fits_cpu(available) {
            return Ok(self);
        }
        self.with_options(ResolvedOptions { snapshots: 0, ..options.clone() })
    }

    /// Reason why `available` bytes cannot hold the model on the CPU, and a context length that
    /// fits; `None` if they can.
    pub(super) fn cpu_misfit(&self, available: u64) -> Result<Option<String>> {
        let needed = self.cpu_memory()?.peak_cpu_bytes;
        if needed <= available {
            return Ok(None);
        }
        let length = self.options.context_length;
        let advice = self.advice(|planned| Ok(planned.cpu_memory()?.peak_cpu_bytes <= available));
        Ok(Some(format!(
            "{}: needs {needed} bytes of memory at a context length of {length}, {available} \
             available; {advice}",
            self.checkpoint.name
        )))
    }

    /// The error of a failed allocation, with the message of [`Self::cpu_misfit`] where the heap's
    /// size is known: the bytes by which it grew since it had `held` bytes were available.
    pub(super) fn explain_allocation_failure(&self, held: Option<u64>, error: Error) -> Error {
        let growth = heap_bytes().zip(held).map(|(now, before)| now - before);
        match growth.map(|available| self.cpu_misfit(available)) {
            Some(Ok(Some(misfit))) => Error::new(error.code(), misfit),
            _ => error,
        }
    }

    /// Advice that names the longest context length that fits, among 1/2, 1/4, … of the planned
    /// one.
    fn advice(&self, fits: impl Fn(&PlannedModel<'_>) -> Result<bool>) -> String {
        let fits = |length: &u32| {
            let options = ResolvedOptions {
                context_length: *length,
                is_context_length_given: true,
                ..self.options.clone()
            };
            self.with_options(options).and_then(|planned| fits(&planned)).unwrap_or(false)
        };
        let halves =
            std::iter::successors(Some(self.options.context_length / 2), |it| Some(it / 2));
        match halves.take_while(|length| *length > 0).find(fits) {
            Some(length) => format!("a context length of {length} fits"),
            None => "no context length fits".to_owned(),
        }
    }
}
