//! Metadata of a safetensors folder.

use serde_json::Value;

pub use super::files::{CONFIG, is_part, is_text_file};
pub use super::sentence_modules::{SentenceModule, SentenceModules};
pub use crate::weights::json::number;

/// Metadata of a safetensors folder.
#[derive(Debug)]
pub struct Folder {
    /// `config.json`, an object. Non-finite numbers are read by [`number`].
    pub config: Value,
    /// `generation_config.json`, an object.
    pub generation_config: Option<Value>,
    /// `tokenizer.json`, unparsed.
    pub tokenizer_json: Vec<u8>,
    /// `tokenizer_config.json`, an object, merged with `special_tokens_map.json`.
    pub tokenizer_config: Option<Value>,
    /// Chat template: `chat_template.jinja`, else the one in `tokenizer_config.json` (of several
    /// the one named `default`, else the first), else the one in `chat_template.json`.
    pub chat_template: Option<String>,
    /// Chat template named `tool_use`, for chats with tools.
    pub tool_template: Option<String>,
    /// Modules and prompts of sentence-transformers.
    pub sentence: SentenceModules,
}
