//! TabLM runs small language models inside a browser tab, and natively: WGSL kernels on WebGPU, or
//! the CPU where there is no adapter.
//!
//! A model file is opened as it was published (GGUF or safetensors), its architecture writes
//! [plans](plan::Plan), and one of two executors runs them. [`engine::Engine`] is the API; the npm
//! package and the command line are built on it.
//!
//! ```no_run
//! use std::path::Path;
//! use tablm::engine::{Engine, GenerateRequest, LoadOptions, Prompt};
//! use tablm::sampling::SamplerOptions;
//! use tablm::weights::disk::open_path;
//!
//! # fn main() -> tablm::Result<()> {
//! # pollster::block_on(async {
//! let files = open_path(Path::new("SmolLM2-135M-Instruct.Q4_1.gguf"))?;
//! let mut engine = Engine::load(files, &LoadOptions::default(), &mut |_| {}).await?;
//! let request = GenerateRequest {
//!     prompt: Prompt::Raw("The capital of France is".to_owned()),
//!     max_tokens: Some(16),
//!     sampling: SamplerOptions::default(),
//!     stop: Vec::new(),
//!     ignore_stop_tokens: false,
//!     top_logprobs: None,
//!     truncates: false,
//! };
//! let completion = engine.generate(&request, |_| {}).await?;
//! assert!(!completion.token_ids.is_empty());
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Layers
//!
//! Each module uses only modules further down this list (`tests/tidy/` checks it).
//!
//! - [`engine`]: load, generate, memory estimates, choice of the executor
//! - [`gpu`], [`cpu`]: the executors; neither knows the other, and only [`gpu`] names wgpu
//! - [`models`], [`layers`]: architectures and their common parts, as functions that write plans
//! - [`text`]: tokenizers, chat templates, tool calls
//! - [`weights`]: model files as named tensors
//! - [`plan`]: ordered kernels over named buffers, fusion, memory layout
//! - [`kernels`]: launch and CPU reference of each shader
//! - [`formats`]: stored blocks of weights, their exact values, their planes on the GPU
//! - [`sampling`]: penalties, cuts (top-k, top-p, min-p) and draws, equal on every executor
//! - [`error`]: the one error type
//!
//! `ARCHITECTURE.md` in the repository has the map of the files, the path of a token and of a load,
//! and the vocabulary; `docs/decisions/` has the reasons.
#![deny(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the documentation is built with `cargo doc --document-private-items`"
)]

pub mod error;
#[macro_use]
pub mod formats;
pub mod kernels;
pub mod layers;
pub mod models;
pub mod plan;
pub mod sampling;
pub mod text;
pub mod weights;

pub mod cpu;
pub mod gpu;

pub mod engine;
#[cfg(target_arch = "wasm32")]
mod web;

pub use error::{Code, Error, Result};
