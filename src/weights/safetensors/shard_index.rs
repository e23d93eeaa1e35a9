//! Weight files of a folder, and the index of its shards.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::files::{INDEX, MAX_INDEX_BYTES, SINGLE, is_weight_file, missing, not_json};
use super::header::{StoredTensor, read_header};
use crate::error::{Error, Result, quoted};
use crate::weights::json;
use crate::weights::source::{ByteSource, read_whole};

/// Tensors of all weight files, as stored. If several files contain a tensor, the index decides.
pub(super) async fn stored_tensors(
    files: &[Rc<dyn ByteSource>],
) -> Result<BTreeMap<String, StoredTensor>> {
    let index = match files.iter().find(|file| file.name() == INDEX) {
        Some(source) => Some(shards(source).await?).filter(|index| !is_stale(files, index)),
        None => None,
    };
    let mut tensors: BTreeMap<String, StoredTensor> = BTreeMap::new();
    for number in weight_files(files, index.as_ref())? {
        let file = files[number].name();
        for tensor in read_header(&files[number], number).await? {
            let twin = tensors.get(&tensor.name).map(|twin| files[twin.file].name());
            let named = index.as_ref().and_then(|index| index.get(&tensor.name));
            if let Some(twin) = twin.filter(|_| named.is_none()) {
                let field = format!("tensor {}", tensor.name);
                let found = format!("the tensor in {twin} too");
                let expected = "it in one file, or an index that decides";
                return Err(Error::malformed_value(file, &field, found, expected));
            }
            if twin.is_none() || named.is_some_and(|named| named == file) {
                tensors.insert(tensor.name.clone(), tensor);
            }
        }
    }
    for (name, shard) in index.iter().flatten() {
        let found = tensors.get(name).map(|tensor| files[tensor.file].name());
        // An index may list buffers that are not stored.
        if let Some(found) = found.filter(|found| found != shard) {
            let field = format!("weight_map: {}", quoted(name));
            let expected = format!("{found}, which contains the tensor");
            return Err(Error::malformed_value(INDEX, &field, shard, expected));
        }
    }
    Ok(tensors)
}

/// True if the index is left over from a model that was saved again in a single file.
fn is_stale(files: &[Rc<dyn ByteSource>], index: &BTreeMap<String, String>) -> bool {
    let is_there = |name: &str| files.iter().any(|file| file.name() == name);
    is_there(SINGLE) && !index.values().all(|shard| is_there(shard))
}

/// Indices of the weight files in `files`.
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
        (0..files.len()).filter(|&number| is_weight_file(files[number].name())).collect();
    match found.len() {
        0 => Err(missing(files, SINGLE)),
        1 => Ok(found),
        count => {
            let expected = format!("the index of {count} shards");
            Err(Error::malformed_value(INDEX, "missing file", "nothing", expected))
        }
    }
}

/// Reads the index: file names of shards, without folders, by tensor name.
async fn shards(source: &Rc<dyn ByteSource>) -> Result<BTreeMap<String, String>> {
    let bytes = read_whole(&**source, MAX_INDEX_BYTES).await?;
    let paths = shard_paths(&bytes).map_err(|error| not_json(source, &bytes, &error))?;
    if paths.is_empty() {
        return Err(Error::malformed_value(source.name(), "weight_map", "nothing", "tensors"));
    }
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for path in paths.values() {
        let bad = |found: String, expected: &str| {
            Error::malformed_value(source.name(), "weight_map", found, expected)
        };
        let segments =
            segments(path).ok_or_else(|| bad(quoted(path), "a file below the folder"))?;
        let name = segments.last().copied().unwrap_or_default();
        if names.get(name).is_some_and(|other| *other != segments) {
            let found = format!("{} in two folders", quoted(name));
            return Err(bad(found, "files of different names"));
        }
        names.insert(name.to_owned(), segments);
    }
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(paths.iter().map(|(tensor, path)| (tensor.clone(), name(path))).collect())
}

/// Parses an index: paths of shards by tensor name.
pub(in crate::weights) fn shard_paths(
    index: &[u8],
) -> serde_json::Result<BTreeMap<String, String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    json::parse::<Index>(index).map(|index| index.weight_map)
}

/// Components of a relative path; `None` if the path may lead out of the model's folder.
pub(in crate::weights) fn segments(path: &str) -> Option<Vec<&str>> {
    let segments: Vec<&str> = path.split('/').filter(|segment| *segment != ".").collect();
    let leads_out = |segment: &&str| {
        segment.is_empty() || *segment == ".." || segment.contains(['\\', ':', '\0'])
    };
    (!segments.is_empty() && !segments.iter().any(leads_out)).then_some(segments)
}
