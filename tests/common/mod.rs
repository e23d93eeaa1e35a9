//! Code that several test programs share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test program uses a part"
)]

pub(crate) mod adapter;
pub(crate) mod cache;
pub(crate) mod conversations;
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

/// Checks that a text contains each of `words`.
#[track_caller]
pub(crate) fn assert_contains(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}
