//! Added tokens of `tokenizer_config.json` that `tokenizer.json` lacks or has with other flags.
//! transformers adds them to the tokenizer after loading `tokenizer.json`.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::components::flag;

/// An added token as in `tokenizer.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct AddedTokenJson {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

/// Merges `added` with the tokens of `tokenizer_config.json`, whose flags take precedence. A token
/// that neither file gives an id is left out: no weights belong to it.
pub(super) fn merge_added_tokens(
    mut added: Vec<AddedTokenJson>,
    vocabulary: &[(String, u32)],
    config: Option<&Value>,
) -> Vec<AddedTokenJson> {
    let Some(config) = config else { return added };
    let places: HashMap<String, usize> =
        added.iter().enumerate().map(|(at, token)| (token.content.clone(), at)).collect();
    let is_new = |token: &AddedTokenJson, is_listed: bool| match places.get(&token.content) {
        Some(&at) if is_listed => added.get(at).is_none_or(|other| !same_flags(other, token)),
        Some(_) => false,
        None => true,
    };
    let listed = listed(config).into_iter().filter(|token| is_new(token, true));
    let mut stated: Vec<AddedTokenJson> = listed.collect();
    stated.extend(named(config).into_iter().filter(|token| is_new(token, false)));
    let mut seen = HashSet::new();
    stated.retain(|token| seen.insert(token.content.clone()));
    if stated.is_empty() {
        return added;
    }
    let ids: HashMap<&str, u32> =
        vocabulary.iter().map(|(text, id)| (text.as_str(), *id)).collect();
    let mut taken: HashSet<u32> = vocabulary.iter().map(|(_, id)| *id).collect();
    taken.extend(added.iter().map(|token| token.id));
    for token in stated {
        if let Some(other) = places.get(&token.content).and_then(|&at| added.get_mut(at)) {
            *other = AddedTokenJson { id: other.id, ..token };
        } else if let Some(&id) = ids.get(token.content.as_str()) {
            added.push(AddedTokenJson { id, ..token });
        } else if token.id != NO_ID && taken.insert(token.id) {
            added.push(token);
        }
    }
    added
}

/// Placeholder id of a token that is listed by its text only.
const NO_ID: u32 = u32::MAX;

fn same_flags(one: &AddedTokenJson, other: &AddedTokenJson) -> bool {
    *one == AddedTokenJson { id: one.id, ..other.clone() }
}

/// Tokens of `added_tokens_decoder`, which lists ids.
fn listed(config: &Value) -> Vec<AddedTokenJson> {
    let listed =
        config.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten();
    let token = |(id, token): (&String, &Value)| read(id.parse().ok()?, token);
    listed.filter_map(token).collect()
}

/// Tokens with a role, such as `bos_token`, and tokens of the lists without ids.
fn named(config: &Value) -> Vec<AddedTokenJson> {
    let mut found = Vec::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        let values: Vec<&Value> = match (key.as_str(), value) {
            ("additional_special_tokens" | "extra_special_tokens", Value::Array(list)) => {
                list.iter().collect()
            }
            ("additional_special_tokens" | "extra_special_tokens", Value::Object(map)) => {
                map.values().collect()
            }
            (key, value) if key.ends_with("_token") => vec![value],
            _ => continue,
        };
        let tokens = values.into_iter().filter_map(|value| read(NO_ID, value));
        found.extend(tokens.map(|token| AddedTokenJson { special: true, ..token }));
    }
    found
}

/// Reads a token given as an object or as its text.
fn read(id: u32, token: &Value) -> Option<AddedTokenJson> {
    let content = token
        .as_str()
        .or_else(|| token.get("content")?.as_str())
        .filter(|text| !text.is_empty())?;
    let special = flag(token, "special").unwrap_or(token.is_string());
    Some(AddedTokenJson {
        id,
        content: content.to_owned(),
        single_word: flag(token, "single_word").unwrap_or(false),
        lstrip: flag(token, "lstrip").unwrap_or(false),
        rstrip: flag(token, "rstrip").unwrap_or(false),
        normalized: flag(token, "normalized").unwrap_or(!special),
        special,
    })
}
