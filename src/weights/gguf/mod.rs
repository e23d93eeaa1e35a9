//! GGUF files.

mod fused_tensors;
mod header;
pub mod metadata;
pub(super) mod split_files;
