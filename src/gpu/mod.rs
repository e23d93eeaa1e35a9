//! The GPU executor, the only code that names wgpu.
//!
//! Reading order: [`device`] (adapter, limits, errors), [`shader`] (assembly of WGSL from imports),
//! [`pipeline`] (one per shader, format and constants), [`executor`] (runs a plan), [`upload`]
//! (weights to GPU memory), [`readback`] (GPU memory to host), [`commands`] (calls that a step
//! makes, counted by [`counters`]), [`profile`] (times kernels).

mod commands;
mod counters;
mod device;
mod executor;
mod pipeline;
mod profile;
mod readback;
pub mod shader;
mod upload;

pub use counters::StepCounters;
pub use device::{AdapterHints, AdapterReport, Gpu, buffer_bytes};
pub use executor::{GpuExecutor, MAX_SAMPLES_IN_FLIGHT};
pub use pipeline::PipelineText;
