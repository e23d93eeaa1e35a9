//! Fixtures that several test programs use.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test file uses a part"
)]

pub(crate) mod adapter;
pub(crate) mod cache;
pub(crate) mod engines;
pub(crate) mod files;
pub(crate) mod gguf;
pub(crate) mod gguf_parts;
pub(crate) mod nemotron_h;
pub(crate) mod random;
pub(crate) mod safetensors;
#[cfg(target_arch = "wasm32")]
pub(crate) mod wasm;

pub(crate) use adapter::gpu;
