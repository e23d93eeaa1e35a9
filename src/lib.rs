//! TabLM: small language models inside a browser tab.
//!
#![doc = include_str!("../ARCHITECTURE.md")]
#![deny(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the documents are for those who work on the crate: `cargo doc --document-private-items`"
)]

pub mod error;
pub mod formats;
pub mod kernels;
pub mod layers;
pub mod models;
pub mod noise;
pub mod plan;
pub mod text;
pub mod weights;

pub mod cpu;
pub mod gpu;

pub mod engine;
#[cfg(target_arch = "wasm32")]
mod web;

pub use error::{Code, Error, Result};
