//! A safetensors folder: which of its files mean what, and the small ones read.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::weights::safetensors::{Stored, read_header};
use crate::weights::source::{ByteSource, read_whole};
use crate::weights::{Checkpoint, Container, joined, json, shortened, sniff};

pub use crate::weights::json::number;

/// The model's configuration.
pub const CONFIG: &str = "config.json";
/// How files of weights end.
pub(super) const SAFETENSORS: &str = ".safetensors";
/// Which shard holds which tensor.
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// The file of weights where there is one.
const SINGLE: &str = "model.safetensors";
const GENERATION_CONFIG: &str = "generation_config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// Where processors have it.
const CHAT_TEMPLATE_JSON: &str = "chat_template.json";
/// The template for a chat with tools, where it has a file of its own.
pub(super) const TOOL_TEMPLATE: &str = "tool_use.jinja";

/// What a folder holds beside configuration and weights, and keeps whatever becomes of those.
pub const TEXT_FILES: [&str; 7] = [
    GENERATION_CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS,
    CHAT_TEMPLATE,
    CHAT_TEMPLATE_JSON,
    TOOL_TEMPLATE,
];

/// Largest configuration, tokenizer, index: several times the largest that are in use.
const MAX_CONFIG_BYTES: u64 = 16 << 20;
const MAX_TOKENIZER_BYTES: u64 = 128 << 20;
pub(super) const MAX_INDEX_BYTES: u64 = 64 << 20;

/// What a safetensors folder says besides its tensors.
#[derive(Debug)]
pub struct Folder {
    /// `config.json`, an object; see [`number`] for numbers that JSON lacks.
    pub config: Value,
    /// `generation_config.json`, an object.
    pub generation_config: Option<Value>,
    /// `tokenizer.json` as it is.
    pub tokenizer_json: Vec<u8>,
    /// `tokenizer_config.json`, an object, with the special tokens of `special_tokens_map.json`.
    pub tokenizer_config: Option<Value>,
    /// The chat template: `chat_template.jinja`, else the one in `tokenizer_config.json` (of
    /// several the one named `default`, else the first), else the one in `chat_template.json`.
    pub chat_template: Option<String>,
    /// The one named `tool_use`, for a chat with tools.
    pub tool_template: Option<String>,
}

/// Whether a file of that name belongs to a model folder.
pub fn is_part(name: &str) -> bool {
    name.ends_with(SAFETENSORS) || name == INDEX || name == CONFIG || TEXT_FILES.contains(&name)
}

/// Opens a folder given by its files.
pub(super) async fn open(files: Vec<Rc<dyn ByteSource>>) -> Result<Checkpoint> {
    let find = |name: &str| files.iter().find(|file| file.name() == name);
    let need = |name: &str| find(name).ok_or_else(|| missing(&files, name));
    let config = object(need(CONFIG)?).await?;
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
    let tensors = joined::join(stored(&files).await?, &files, &config)?;
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
    };
    Ok(Checkpoint { name, container: Container::Safetensors(Box::new(folder)), tensors, files })
}

/// The tensors of all files of weights, as they are stored. Of one that several files hold, the
/// index says which is meant.
async fn stored(files: &[Rc<dyn ByteSource>]) -> Result<BTreeMap<String, Stored>> {
    let index = match files.iter().find(|file| file.name() == INDEX) {
        Some(source) => Some(shards(source).await?).filter(|index| !is_stale(files, index)),
        None => None,
    };
    let mut tensors: BTreeMap<String, Stored> = BTreeMap::new();
    for number in weight_files(files, index.as_ref())? {
        let file = files[number].name();
        for tensor in read_header(&files[number], number).await? {
            let twin = tensors.get(&tensor.name).map(|twin| files[twin.file].name());
            let named = index.as_ref().and_then(|index| index.get(&tensor.name));
            if let Some(twin) = twin.filter(|_| named.is_none()) {
                let field = format!("tensor {}", tensor.name);
                return Err(Error::malformed(
                    file,
                    &field,
                    format!("is in {twin} too, and no index decides"),
                ));
            }
            if twin.is_none() || named.is_some_and(|named| named == file) {
                tensors.insert(tensor.name.clone(), tensor);
            }
        }
    }
    for (name, shard) in index.iter().flatten() {
        let found = tensors.get(name).map(|tensor| files[tensor.file].name());
        // A buffer that is not a weight may be listed and left out.
        if found.is_some_and(|found| found != shard) {
            return Err(Error::malformed(
                INDEX,
                &format!("weight_map: {}", shortened(name)),
                format!("found {shard}, but the tensor is in {}", found.unwrap_or_default()),
            ));
        }
    }
    Ok(tensors)
}

/// Whether an index was left behind by a model that was saved again in one file.
fn is_stale(files: &[Rc<dyn ByteSource>], index: &BTreeMap<String, String>) -> bool {
    let is_there = |name: &str| files.iter().any(|file| file.name() == name);
    is_there(SINGLE) && !index.values().all(|shard| is_there(shard))
}

/// Which files hold weights, as indices into `files`.
fn weight_files(
    files: &[Rc<dyn ByteSource>],
    index: Option<&BTreeMap<String, String>>,
) -> Result<Vec<usize>> {
    let position = |name: &str| files.iter().position(|file| file.name() == name);
    if let Some(index) = index {
        let mut names: Vec<&String> = index.values().collect();
        names.sort();
        names.dedup();
        return names
            .into_iter()
            .map(|name| position(name).ok_or_else(|| missing(files, name)))
            .collect();
    }
    if let Some(single) = position(SINGLE) {
        return Ok(vec![single]);
    }
    let found: Vec<usize> =
        (0..files.len()).filter(|&number| files[number].name().ends_with(SAFETENSORS)).collect();
    match found.len() {
        0 => Err(missing(files, SINGLE)),
        1 => Ok(found),
        count => Err(Error::malformed(
            INDEX,
            "file",
            format!("not there, expected it beside {count} shards"),
        )),
    }
}

/// The index: which shard holds which tensor, by the shard's name without folders.
async fn shards(source: &Rc<dyn ByteSource>) -> Result<BTreeMap<String, String>> {
    let bytes = read_whole(&**source, MAX_INDEX_BYTES).await?;
    let paths = shard_paths(&bytes).map_err(|error| not_json(source, &bytes, &error))?;
    if paths.is_empty() {
        return Err(Error::malformed(source.name(), "weight_map", "empty, expected tensors"));
    }
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for path in paths.values() {
        let bad = |found: String, expected: &str| {
            Error::malformed(
                source.name(),
                "weight_map",
                format!("found {found}, expected {expected}"),
            )
        };
        let segments =
            segments(path).ok_or_else(|| bad(shortened(path), "a file below the folder"))?;
        let name = segments.last().copied().unwrap_or_default();
        if names.get(name).is_some_and(|other| *other != segments) {
            return Err(bad(
                format!("{} in two folders", shortened(name)),
                "files of different names",
            ));
        }
        names.insert(name.to_owned(), segments);
    }
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(paths.iter().map(|(tensor, path)| (tensor.clone(), name(path))).collect())
}

/// What an index says: paths of shards by their tensors' names.
pub(super) fn shard_paths(index: &[u8]) -> serde_json::Result<BTreeMap<String, String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    json::parse::<Index>(index).map(|index| index.weight_map)
}

/// The folders and the name of a path; `None` where it may lead out of the model's folder.
pub(super) fn segments(path: &str) -> Option<Vec<&str>> {
    let segments: Vec<&str> = path.split('/').filter(|segment| *segment != ".").collect();
    let leads_out = |segment: &&str| {
        segment.is_empty() || *segment == ".." || segment.contains(['\\', ':', '\0'])
    };
    (!segments.is_empty() && !segments.iter().any(leads_out)).then_some(segments)
}

fn missing(files: &[Rc<dyn ByteSource>], name: &str) -> Error {
    let present: Vec<&str> = files.iter().take(16).map(|file| file.name()).collect();
    Error::malformed(
        &shortened(name),
        "file",
        format!("not there, found only {}", present.join(", ")),
    )
}

/// Adds what a configuration does not say. Without `added_tokens_decoder` it is the older of the
/// two, and the map decides.
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

/// The templates for a chat, and for one with tools: files come before what configurations say.
async fn chat_templates(
    files: &[Rc<dyn ByteSource>],
    tokenizer_config: Option<&Value>,
) -> Result<(Option<String>, Option<String>)> {
    let find = |name: &str| files.iter().find(|file| file.name() == name);
    let plain = optional_text(find(CHAT_TEMPLATE)).await?;
    let for_tools = optional_text(find(TOOL_TEMPLATE)).await?;
    if plain.is_some() {
        return Ok((plain, for_tools));
    }
    let of = |file: &str, config: Option<&Value>| {
        let stated = config.and_then(|config| config.get("chat_template"));
        stated
            .map(|stated| named_templates(file, stated))
            .transpose()
            .map(Option::unwrap_or_default)
    };
    let mut named = of(TOKENIZER_CONFIG, tokenizer_config)?;
    if named.is_empty() {
        named = of(CHAT_TEMPLATE_JSON, optional_object(find(CHAT_TEMPLATE_JSON)).await?.as_ref())?;
    }
    let take = |wanted: &dyn Fn(&str) -> bool| {
        named.iter().find(|(name, _)| wanted(name)).map(|(_, template)| template.clone())
    };
    let plain = take(&|name| name == "default").or_else(|| take(&|name| name != "tool_use"));
    Ok((plain, for_tools.or_else(|| take(&|name| name == "tool_use"))))
}

/// The templates in a configuration with their names: one text, a list of `{name, template}`, or
/// a mapping.
fn named_templates(file: &str, stated: &Value) -> Result<Vec<(String, String)>> {
    let bad = |found: &str| {
        let message = format!("found {found}, expected text or a list of named templates");
        Err(Error::malformed(file, "chat_template", message))
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

async fn optional_text(source: Option<&Rc<dyn ByteSource>>) -> Result<Option<String>> {
    match source {
        Some(source) => text(source, read_whole(&**source, MAX_CONFIG_BYTES).await?).map(Some),
        None => Ok(None),
    }
}

async fn optional_object(source: Option<&Rc<dyn ByteSource>>) -> Result<Option<Value>> {
    match source {
        Some(source) => object(source).await.map(Some),
        None => Ok(None),
    }
}

/// A JSON object.
async fn object(source: &Rc<dyn ByteSource>) -> Result<Value> {
    let bytes = read_whole(&**source, MAX_CONFIG_BYTES).await?;
    match json::parse(&bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Error::malformed(source.name(), "JSON", "expected an object")),
        Err(error) => Err(not_json(source, &bytes, &error)),
    }
}

fn text(source: &Rc<dyn ByteSource>, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::malformed(source.name(), "text", format!("invalid UTF-8 at byte {at}"))
    })
}

fn not_json(source: &Rc<dyn ByteSource>, bytes: &[u8], error: &serde_json::Error) -> Error {
    let head = &bytes[..bytes.len().min(sniff::HEAD_BYTES as usize)];
    // Text that begins like JSON is broken JSON; anything else is better said by what it is.
    if matches!(head.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return Error::malformed(source.name(), "JSON", error);
    }
    Error::malformed(source.name(), "JSON", format!("{}, expected JSON", sniff::describe(head)))
}
