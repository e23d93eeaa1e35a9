//! Opening a safetensors folder.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::chat_templates::chat_templates;
use super::files::{
    CONFIG, GENERATION_CONFIG, MAX_TOKENIZER_BYTES, SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG,
    missing, object, optional_object,
};
use super::folder::Folder;
use super::schemes;
use super::sentence_modules::SentenceModules;
use super::shard_index::stored_tensors;
use super::text_model;
use crate::error::Result;
use crate::weights::checkpoint::{Checkpoint, Container};
use crate::weights::fused_tensors;
use crate::weights::source::{ByteSource, read_whole};

/// Opens a folder, given its files. Errors: as for [`Checkpoint::open`].
pub(in crate::weights) async fn open_folder(files: Vec<Rc<dyn ByteSource>>) -> Result<Checkpoint> {
    let find = |name: &str| files.iter().find(|file| file.name() == name);
    let need = |name: &str| find(name).ok_or_else(|| missing(&files, name));
    let config = object(need(CONFIG)?).await?;
    let is_nested = text_model::is_nested(&config);
    let config = text_model::flatten_config(config);
    let generation_config = optional_object(find(GENERATION_CONFIG)).await?;
    let tokenizer_json = read_whole(&**need(TOKENIZER)?, MAX_TOKENIZER_BYTES).await?;
    let mut tokenizer_config = optional_object(find(TOKENIZER_CONFIG)).await?;
    if let Some(Value::Object(tokens)) = optional_object(find(SPECIAL_TOKENS)).await? {
        add_special_tokens(
            tokenizer_config.get_or_insert_with(|| Value::Object(Map::new())),
            tokens,
        );
    }
    let (chat_template, tool_template) = chat_templates(&files, tokenizer_config.as_ref()).await?;
    let mut stored = stored_tensors(&files).await?;
    if is_nested {
        stored = text_model::rename_tensors(CONFIG, stored)?;
    }
    stored = text_model::rename_base_model(stored);
    let sentence = SentenceModules::read(&files).await?;
    sentence.add_tensors(&files, &mut stored).await?;
    let mut tensors = schemes::join(stored, &files, &config)?;
    fused_tensors::split_safetensors(CONFIG, &config, &mut tensors)?;
    let name = config.get("_name_or_path").and_then(Value::as_str).unwrap_or("");
    let name = name.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty());
    let name = name.unwrap_or("model").to_owned();
    let folder = Folder {
        config,
        generation_config,
        tokenizer_json,
        tokenizer_config,
        chat_template,
        tool_template,
        sentence,
    };
    Ok(Checkpoint { name, container: Container::Safetensors(Box::new(folder)), tensors, files })
}

/// Adds special tokens to a tokenizer configuration that lacks them. In a configuration without
/// `added_tokens_decoder`, which is older than the map, the map takes precedence.
fn add_special_tokens(tokenizer_config: &mut Value, tokens: Map<String, Value>) {
    let is_older = tokenizer_config.get("added_tokens_decoder").is_none();
    let Some(config) = tokenizer_config.as_object_mut() else { return };
    for (name, token) in tokens {
        let is_new = config.get(&name).is_none_or(Value::is_null);
        if !token.is_null() && (is_new || is_older) {
            config.insert(name, token);
        }
    }
}
