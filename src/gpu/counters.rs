//! Counters of what a step costs besides arithmetic.

use std::cell::RefCell;

use serde::Serialize;

/// Costs of one step besides arithmetic.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct StepCounters {
    /// Kernels dispatched.
    pub dispatches: u64,
    /// Queue submissions.
    pub submits: u64,
    /// Bind groups created.
    pub bind_groups_created: u64,
    /// Bytes that the host wrote to buffers.
    pub write_buffer_bytes: u64,
    /// Bytes copied back to the host.
    pub readback_bytes: u64,
    /// Microseconds of the host to encode a step of one token, without its submission, which may
    /// wait for the GPU; the mean over a request.
    pub encode_us: f64,
}

/// Counts since the last step.
pub(super) type Counting = RefCell<StepCounters>;
