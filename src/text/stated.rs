//! Added tokens that `tokenizer_config.json` states, and `tokenizer.json` does not or otherwise:
//! what transformers adds after it has read the one from the other.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::split::flag;

/// An added token as `tokenizer.json` has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct AddedJson {
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

/// The tokens of `added` and those of a configuration, whose flags count more. A text that is in
/// neither file of ids is left out: there is no weight for it.
pub(super) fn complete(
    mut added: Vec<AddedJson>,
    vocabulary: &[(String, u32)],
    config: Option<&Value>,
) -> Vec<AddedJson> {
    let Some(config) = config else { return added };
    let places: HashMap<String, usize> =
        added.iter().enumerate().map(|(at, token)| (token.content.clone(), at)).collect();
    let is_new = |token: &AddedJson, is_listed: bool| match places.get(&token.content) {
        Some(&at) if is_listed => added.get(at).is_none_or(|other| !same_flags(other, token)),
        Some(_) => false,
        None => true,
    };
    let listed = listed(config).into_iter().filter(|token| is_new(token, true));
    let mut stated: Vec<AddedJson> = listed.collect();
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
            *other = AddedJson { id: other.id, ..token };
        } else if let Some(&id) = ids.get(token.content.as_str()) {
            added.push(AddedJson { id, ..token });
        } else if token.id != NO_ID && taken.insert(token.id) {
            added.push(token);
        }
    }
    added
}

/// The id of a token that is stated by its text alone.
const NO_ID: u32 = u32::MAX;

fn same_flags(one: &AddedJson, other: &AddedJson) -> bool {
    *one == AddedJson { id: one.id, ..other.clone() }
}

/// The tokens of `added_tokens_decoder`, which has their ids.
fn listed(config: &Value) -> Vec<AddedJson> {
    let listed =
        config.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten();
    let token = |(id, token): (&String, &Value)| read(id.parse().ok()?, token);
    listed.filter_map(token).collect()
}

/// The tokens that have a role: as `bos_token`, and in lists without names.
fn named(config: &Value) -> Vec<AddedJson> {
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
        found.extend(tokens.map(|token| AddedJson { special: true, ..token }));
    }
    found
}

/// A token as an object or as its text.
fn read(id: u32, token: &Value) -> Option<AddedJson> {
    let content = token
        .as_str()
        .or_else(|| token.get("content")?.as_str())
        .filter(|text| !text.is_empty())?;
    let special = flag(token, "special").unwrap_or(token.is_string());
    Some(AddedJson {
        id,
        content: content.to_owned(),
        single_word: flag(token, "single_word").unwrap_or(false),
        lstrip: flag(token, "lstrip").unwrap_or(false),
        rstrip: flag(token, "rstrip").unwrap_or(false),
        normalized: flag(token, "normalized").unwrap_or(!special),
        special,
    })
}
