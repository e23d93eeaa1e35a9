//! The CPU executor: runs a plan by each kernel's CPU reference, or by faster implementations.
//!
//! Tests compare the GPU with the references. Without a GPU, and in hybrid execution, faster
//! implementations run the kernels that take most of the time: products of packed integer weights
//! and quantized inputs, attention and scans in f32, compiled for each instruction set.
//!
//! Reading order: [`variant`] (the implementations, and dispatch to instruction sets),
//! [`integer_panels`] and [`inputs`] (data layouts), [`microkernel`] (the product, for every
//! instruction set), [`product`] (a matrix product of a plan), [`executor`] (a whole plan).

mod allocation;
mod attend;
mod attention;
mod bandwidth;
mod epilogue;
mod executor;
mod float_panels;
mod functions;
mod inputs;
mod integer_panels;
mod loops;
mod microkernel;
mod mixer;
mod packed_matrix;
mod portable;
mod prefetch;
mod product;
mod recurrence;
mod rows;
mod scan;
mod short_conv;
mod threads;
mod variant;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "wasm32")]
mod wasm;

pub use allocation::heap_bytes;
pub use executor::{CpuExecutor, matrix_bytes};
pub use threads::{MAX_THREADS, StartThreads, Threads, run_worker};
pub use variant::CpuVariant;

/// Instruction set and threads with which a kernel runs.
type Context<'a> = (CpuVariant, &'a Threads);
