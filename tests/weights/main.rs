//! Model files: reading valid ones, and errors for invalid ones.
#![cfg_attr(
    target_arch = "wasm32",
    feature(custom_test_frameworks, test),
    test_runner(common::wasm::register)
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

/// Code shared with other test programs.
#[allow(dead_code, unreachable_pub, reason = "other test programs use the rest")]
#[path = "../common"]
mod common {
    pub mod adapter;
    pub mod cache;
    pub mod files;
    pub mod gguf;
    pub mod random;
    pub mod safetensors;
    #[cfg(target_arch = "wasm32")]
    pub mod wasm;
}
mod block_floats;
#[cfg(not(target_arch = "wasm32"))]
mod disk;
mod folder;
mod folder_variants;
mod gguf;
mod integers;
mod invalid_gguf;
mod real_files;
mod separate_scales;
mod split_files;

use std::rc::Rc;

use tablm::weights::Checkpoint;
use tablm::weights::source::{ByteSource, MemorySource};
use tablm::{Code, Error};

use crate::common::safetensors::Folder;

/// Opens a single file in memory.
fn open(name: &str, bytes: Vec<u8>) -> Result<Checkpoint, Error> {
    open_all(vec![Rc::new(MemorySource::new(name, bytes))])
}

fn open_all(files: Vec<Rc<dyn ByteSource>>) -> Result<Checkpoint, Error> {
    pollster::block_on(Checkpoint::open(files))
}

/// Bytes of a file of a folder.
fn content<'a>(folder: &'a Folder, name: &str) -> &'a [u8] {
    &folder.0.iter().find(|(other, _)| other == name).unwrap().1
}

/// Length of a safetensors file up to the data: the header and its length field.
fn data_start(file: &[u8]) -> usize {
    8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize
}

/// Checks that `result` is an error with the given code and words.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, code: Code, words: &[&str]) {
    let error = result.expect_err(words.first().unwrap_or(&"")).to_string();
    assert!(error.starts_with(code.as_str()), "{error}: expected {}", code.as_str());
    for word in words {
        assert!(error.contains(word), "{error}: expected it to say {word:?}");
    }
}
