//! Folders of safetensors files.

mod chat_templates;
pub(super) mod files;
pub mod folder;
mod header;
pub(super) mod open_folder;
mod schemes;
pub(super) mod sentence_modules;
pub(super) mod shard_index;
mod text_model;
