//! Text models inside multimodal checkpoints: `config.json` has their configuration in
//! `text_config`, and their tensors have a prefix. Both become those of a text-only checkpoint.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::header::StoredTensor;
use crate::error::{Error, Result};

/// Prefixes of the text model's tensors, and those of text-only checkpoints. The first is that of
/// transformers since version 4.52, the others are older, or MLX's.
const PREFIXES: [(&str, &str); 4] = [
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.text_model.", "model."),
];

/// True if the configuration is that of a multimodal model.
pub(super) fn is_nested(config: &Value) -> bool {
    config.get("text_config").is_some_and(Value::is_object)
}

/// Replaces the configuration of a multimodal model by that of its text model; other keys, such as
/// those of quantization, stay.
pub(super) fn flatten_config(config: Value) -> Value {
    let Value::Object(mut all) = config else { return config };
    let Some(Value::Object(text)) = all.remove("text_config") else { return Value::Object(all) };
    // The architecture is that of the whole model; `model_type` names the text model's.
    all.remove("architectures");
    all.extend(text.into_iter().filter(|(_, value)| !value.is_null()));
    if let Some(Value::Object(quantization)) = all.get_mut("quantization") {
        let renamed = std::mem::take(quantization).into_iter();
        *quantization =
            renamed.map(|(name, value)| (text_name(&name), value)).collect::<Map<_, _>>();
    }
    Value::Object(all)
}

/// Renames the tensors of the text model; `malformed` if two get one name.
pub(super) fn rename_tensors(
    file: &str,
    stored: BTreeMap<String, StoredTensor>,
) -> Result<BTreeMap<String, StoredTensor>> {
    let mut renamed = BTreeMap::new();
    for (name, tensor) in stored {
        let new = text_name(&name);
        let tensor = StoredTensor { name: new.clone(), ..tensor };
        if renamed.insert(new.clone(), tensor).is_some() {
            let found = format!("both this tensor and {name}");
            let place = format!("tensor {new}");
            return Err(Error::malformed_value(file, &place, found, "one of them"));
        }
    }
    Ok(renamed)
}

/// Renames the tensors of a base model, whose names lack the prefix of the language model around
/// it, and those of BERT, which may have one.
pub(super) fn rename_base_model(
    stored: BTreeMap<String, StoredTensor>,
) -> BTreeMap<String, StoredTensor> {
    let lacks_prefix = stored.contains_key("embed_tokens.weight");
    let rename = |(name, tensor): (String, StoredTensor)| {
        let name = match name.strip_prefix("bert.") {
            Some(rest) => rest.to_owned(),
            None if lacks_prefix => format!("model.{name}"),
            None => name,
        };
        (name.clone(), StoredTensor { name, ..tensor })
    };
    stored.into_iter().map(rename).collect()
}

/// Name in a text-only checkpoint.
fn text_name(name: &str) -> String {
    let known = PREFIXES
        .iter()
        .find_map(|(prefix, plain)| name.strip_prefix(prefix).map(|rest| format!("{plain}{rest}")));
    known.unwrap_or_else(|| name.to_owned())
}
