//! The GPU executor, the only code that names wgpu.
//!
//! Reading order: [`device`] (adapter, limits, what went wrong), [`shader`] (imports resolved
//! to WGSL text), [`pipeline`] (compiled once per shader, format and constants), [`executor`]
//! (runs a plan), [`upload`] (weights to GPU memory), [`readback`] (GPU memory to host),
//! [`counted`] (what a step costs), [`profile`] (times kernels).

mod counted;
mod device;
mod executor;
mod pipeline;
mod profile;
mod readback;
pub mod shader;
mod upload;

pub use counted::StepCounters;
pub use device::{AdapterHints, AdapterReport, Gpu, buffer_bytes};
pub use executor::{GpuExecutor, MAX_PICKS};
pub use pipeline::PipelineText;
