//! TabLM: small language models inside a browser tab.
//!
//! The map, the invariants and the vocabulary are in ARCHITECTURE.md.
#![deny(unsafe_code)]

pub mod error;
pub mod formats;
pub mod kernels;
pub mod layers;
pub mod models;
pub mod plan;
pub mod text;
pub mod weights;

pub mod cpu;
pub mod gpu;

pub mod engine;
#[cfg(target_arch = "wasm32")]
mod web;

pub use error::{Code, Error, Result};
