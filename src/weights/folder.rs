//! A safetensors folder: which of its files mean what, and the small ones read.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

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
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// What a folder holds beside configuration and weights, and keeps whatever becomes of those.
pub const TEXT_FILES: [&str; 4] = [GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG, CHAT_TEMPLATE];

/// Largest configuration, tokenizer, index: several times the largest that are in use.
const CONFIG_BYTES_MAX: u64 = 16 << 20;
const TOKENIZER_BYTES_MAX: u64 = 128 << 20;
pub(super) const INDEX_BYTES_MAX: u64 = 64 << 20;

/// What a safetensors folder says besides its tensors.
#[derive(Debug)]
pub struct Folder {
    /// `config.json`, an object; see [`number`] for numbers that JSON lacks.
    pub config: Value,
    /// `generation_config.json`, an object.
    pub generation_config: Option<Value>,
    /// `tokenizer.json` as it is.
    pub tokenizer_json: Vec<u8>,
    /// `tokenizer_config.json`, an object.
    pub tokenizer_config: Option<Value>,
    /// The chat template: `chat_template.jinja`, else the one in `tokenizer_config.json` (of
    /// several the one named `default`, else the first).
    pub chat_template: Option<String>,
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
    let tokenizer_json = read_whole(&**need(TOKENIZER)?, TOKENIZER_BYTES_MAX).await?;
    let tokenizer_config = optional_object(find(TOKENIZER_CONFIG)).await?;
    let chat_template = match find(CHAT_TEMPLATE) {
        Some(source) => Some(text(source, read_whole(&**source, CONFIG_BYTES_MAX).await?)?),
        None => tokenizer_config.as_ref().map(chat_template).transpose()?.flatten(),
    };
    let tensors = joined::join(stored(&files).await?, &files, &config)?;
    let name = config.get("_name_or_path").and_then(Value::as_str).unwrap_or("");
    let name = name.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty());
    let name = name.unwrap_or("model").to_owned();
    let folder = Folder { config, generation_config, tokenizer_json, tokenizer_config, chat_template };
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
        return names.into_iter().map(|name| position(name).ok_or_else(|| missing(files, name))).collect();
    }
    if let Some(single) = position(SINGLE) {
        return Ok(vec![single]);
    }
    let found: Vec<usize> =
        (0..files.len()).filter(|&number| files[number].name().ends_with(SAFETENSORS)).collect();
    match found.len() {
        0 => Err(missing(files, SINGLE)),
        1 => Ok(found),
        count => {
            Err(Error::malformed(INDEX, "file", format!("not there, expected it beside {count} shards")))
        }
    }
}

/// The index: which shard holds which tensor, by the shard's name without folders.
async fn shards(source: &Rc<dyn ByteSource>) -> Result<BTreeMap<String, String>> {
    let bytes = read_whole(&**source, INDEX_BYTES_MAX).await?;
    let paths = shard_paths(&bytes).map_err(|error| not_json(source, &bytes, &error))?;
    if paths.is_empty() {
        return Err(Error::malformed(source.name(), "weight_map", "empty, expected tensors"));
    }
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for path in paths.values() {
        let bad = |found: String, expected: &str| {
            Error::malformed(source.name(), "weight_map", format!("found {found}, expected {expected}"))
        };
        let segments = segments(path).ok_or_else(|| bad(shortened(path), "a file below the folder"))?;
        let name = segments.last().copied().unwrap_or_default();
        if names.get(name).is_some_and(|other| *other != segments) {
            return Err(bad(format!("{} in two folders", shortened(name)), "files of different names"));
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
    let leads_out =
        |segment: &&str| segment.is_empty() || *segment == ".." || segment.contains(['\\', ':', '\0']);
    (!segments.is_empty() && !segments.iter().any(leads_out)).then_some(segments)
}

fn missing(files: &[Rc<dyn ByteSource>], name: &str) -> Error {
    let present: Vec<&str> = files.iter().take(16).map(|file| file.name()).collect();
    Error::malformed(&shortened(name), "file", format!("not there, found only {}", present.join(", ")))
}

/// The template in a tokenizer's configuration.
fn chat_template(tokenizer_config: &Value) -> Result<Option<String>> {
    let bad = |found: &str| {
        let message = format!("found {found}, expected text or a list of named templates");
        Error::malformed(TOKENIZER_CONFIG, "chat_template", message)
    };
    match tokenizer_config.get("chat_template") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(template)) => Ok(Some(template.clone())),
        Some(Value::Array(list)) => {
            let default = list.iter().find(|item| item["name"] == "default").or(list.first());
            let Some(item) = default else { return Ok(None) };
            let template = item.get("template").and_then(Value::as_str);
            template.map(|template| Some(template.to_owned())).ok_or_else(|| bad("a list without templates"))
        }
        Some(Value::Object(_)) => Err(bad("an object")),
        Some(Value::Bool(_) | Value::Number(_)) => Err(bad("a number or bool")),
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
    let bytes = read_whole(&**source, CONFIG_BYTES_MAX).await?;
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
