//! GGUF files.

mod header;
pub mod metadata;
pub(super) mod split_files;
