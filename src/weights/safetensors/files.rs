//! Files of a safetensors folder: their names, and reading the small ones.

use std::rc::Rc;

use serde_json::Value;

use crate::error::{Error, Result, quoted};
use crate::weights::source::{ByteSource, read_whole};
use crate::weights::{detect, json};

/// Model configuration.
pub const CONFIG: &str = "config.json";
/// Extension of weight files.
pub(in crate::weights) const SAFETENSORS: &str = ".safetensors";
/// Index of shards: file names by tensor name.
pub(in crate::weights) const INDEX: &str = "model.safetensors.index.json";
/// Weight file of a model that is not split into shards.
pub(in crate::weights) const SINGLE: &str = "model.safetensors";
pub(super) const GENERATION_CONFIG: &str = "generation_config.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(super) const SPECIAL_TOKENS: &str = "special_tokens_map.json";
pub(super) const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// Chat template of models with a processor.
pub(super) const CHAT_TEMPLATE_JSON: &str = "chat_template.json";
/// Modules of sentence-transformers.
pub(in crate::weights) const MODULES: &str = "modules.json";
/// Prompts of sentence-transformers, by name.
pub(super) const PROMPTS: &str = "config_sentence_transformers.json";
/// Longest text of the transformer, as sentence-transformers limits it.
pub(super) const TRANSFORMER: &str = "sentence_bert_config.json";
/// Chat template for chats with tools, if it has a file of its own.
pub(in crate::weights) const TOOL_TEMPLATE: &str = "tool_use.jinja";

/// Files besides configuration and weights, which quantization copies unchanged.
const TEXT_FILES: [&str; 10] = [
    GENERATION_CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS,
    CHAT_TEMPLATE,
    CHAT_TEMPLATE_JSON,
    TOOL_TEMPLATE,
    MODULES,
    PROMPTS,
    TRANSFORMER,
];

/// Maximum size of a configuration, tokenizer and index: several times the largest in use.
pub(super) const MAX_CONFIG_BYTES: u64 = 16 << 20;
pub(super) const MAX_TOKENIZER_BYTES: u64 = 128 << 20;
pub(in crate::weights) const MAX_INDEX_BYTES: u64 = 64 << 20;

/// True for a weight file of the model, not of a module in a subfolder.
pub(in crate::weights) fn is_weight_file(name: &str) -> bool {
    name.ends_with(SAFETENSORS) && !name.contains('/')
}

/// True if a file of that name belongs to a model folder.
pub fn is_part(name: &str) -> bool {
    name.ends_with(SAFETENSORS) || name == INDEX || name == CONFIG || TEXT_FILES.contains(&name)
}

/// True if quantization copies a file of that name unchanged.
pub fn is_text_file(name: &str) -> bool {
    let is_of_module = name.split_once('/').is_some_and(|(_, file)| file == CONFIG);
    is_of_module || TEXT_FILES.contains(&name)
}

/// `malformed`: a file of the folder is missing.
pub(super) fn missing(files: &[Rc<dyn ByteSource>], name: &str) -> Error {
    let present: Vec<&str> = files.iter().take(16).map(|file| file.name()).collect();
    let found = format!("only {}", present.join(", "));
    Error::malformed_value(&quoted(name), "missing file", found, "this file too")
}

pub(super) async fn optional_text(source: Option<&Rc<dyn ByteSource>>) -> Result<Option<String>> {
    match source {
        Some(source) => text(source, read_whole(&**source, MAX_CONFIG_BYTES).await?).map(Some),
        None => Ok(None),
    }
}

pub(super) async fn optional_object(source: Option<&Rc<dyn ByteSource>>) -> Result<Option<Value>> {
    match source {
        Some(source) => object(source).await.map(Some),
        None => Ok(None),
    }
}

/// Reads a JSON object.
pub(super) async fn object(source: &Rc<dyn ByteSource>) -> Result<Value> {
    let bytes = read_whole(&**source, MAX_CONFIG_BYTES).await?;
    match json::parse(&bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => {
            let found = "another JSON value";
            Err(Error::malformed_value(source.name(), "JSON", found, "an object"))
        }
        Err(error) => Err(not_json(source, &bytes, &error)),
    }
}

fn text(source: &Rc<dyn ByteSource>, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let found = format!("invalid UTF-8 at byte {at}");
        Error::malformed_value(source.name(), "text", found, "UTF-8")
    })
}

/// `malformed`: a file is not JSON. Text that starts like JSON is reported with the parser's error,
/// other content by what it looks like.
pub(super) fn not_json(
    source: &Rc<dyn ByteSource>,
    bytes: &[u8],
    error: &serde_json::Error,
) -> Error {
    let head = &bytes[..bytes.len().min(detect::HEAD_BYTES as usize)];
    if matches!(head.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return Error::malformed(source.name(), "JSON", error);
    }
    Error::malformed_value(source.name(), "JSON", detect::describe(head), "JSON")
}
