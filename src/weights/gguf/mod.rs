//! GGUF files.

mod header;
pub mod metadata;
mod nvfp4_factors;
pub(super) mod split_files;
