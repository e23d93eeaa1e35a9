//! Chat templates of a safetensors folder.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::files::{
    CHAT_TEMPLATE, CHAT_TEMPLATE_JSON, TOKENIZER_CONFIG, TOOL_TEMPLATE, optional_object,
    optional_text,
};
use crate::error::{Error, Result};
use crate::weights::source::ByteSource;

/// Chat templates without and with tools. Files take precedence over configurations.
pub(super) async fn chat_templates(
    files: &[Rc<dyn ByteSource>],
    tokenizer_config: Option<&Value>,
) -> Result<(Option<String>, Option<String>)> {
    let find = |name: &str| files.iter().find(|file| file.name() == name);
    let plain = optional_text(find(CHAT_TEMPLATE)).await?;
    let for_tools = optional_text(find(TOOL_TEMPLATE)).await?;
    if plain.is_some() {
        return Ok((plain, for_tools));
    }
    let mut named = named_templates(TOKENIZER_CONFIG, tokenizer_config)?;
    if named.is_empty() {
        let config = optional_object(find(CHAT_TEMPLATE_JSON)).await?;
        named = named_templates(CHAT_TEMPLATE_JSON, config.as_ref())?;
    }
    let template_where = |is_wanted: &dyn Fn(&str) -> bool| {
        named.iter().find(|(name, _)| is_wanted(name)).map(|(_, template)| template.clone())
    };
    let plain = template_where(&|name| name == "default")
        .or_else(|| template_where(&|name| name != "tool_use"));
    Ok((plain, for_tools.or_else(|| template_where(&|name| name == "tool_use"))))
}

/// Names and templates in a configuration, which has a string, a list of `{name, template}` or a
/// mapping; empty without a configuration.
fn named_templates(file: &str, config: Option<&Value>) -> Result<Vec<(String, String)>> {
    let Some(stated) = config.and_then(|config| config.get("chat_template")) else {
        return Ok(Vec::new());
    };
    let bad = |found: &str| {
        let expected = "text or a list of named templates";
        Err(Error::malformed_value(file, "chat_template", found, expected))
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let named: Vec<(String, String)> = match stated {
        Value::Null => return Ok(Vec::new()),
        Value::String(template) => vec![("default".to_owned(), template.clone())],
        Value::Array(list) => {
            let entry = |item: &Value| {
                Some((text(&item["name"]).unwrap_or_default(), text(&item["template"])?))
            };
            list.iter().filter_map(entry).collect()
        }
        Value::Object(map) => {
            map.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
        }
        Value::Bool(_) | Value::Number(_) => return bad("a number or bool"),
    };
    let is_empty = stated.as_array().is_some_and(Vec::is_empty)
        || stated.as_object().is_some_and(Map::is_empty);
    if named.is_empty() && !is_empty {
        bad("a list or mapping without templates")
    } else {
        Ok(named)
    }
}
