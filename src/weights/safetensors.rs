//! The header of one safetensors file.
//!
//! The element types and their sizes are the `safetensors` crate's. The header itself is walked
//! here, because the crate keeps offsets as `usize`, which ends at 4 GiB in wasm32 while shards
//! of 5 GB are usual, takes the last of two tensors of one name without a word, and cannot say
//! which tensor is wrong. A fuzz target checks that whatever is accepted here the crate accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use ::safetensors::Dtype;
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::error::{Error, Result};
use crate::weights::source::ByteSource;
use crate::weights::{MAX_TENSORS, joined, shortened, sniff, spare};

/// Longest header, as in the reference implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Axes of a tensor; more than GGUF has, for tensors that no language model uses.
const MAX_AXES: usize = 8;
/// Bytes before the header: its length.
const LENGTH_BYTES: u64 = 8;

/// A tensor as a file holds it; some are only a part of a weight ([`super::joined`]).
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    /// For bytes: the weight format whose blocks they are, as `__metadata__` says under its name.
    pub(super) blocks: Option<String>,
    pub(super) shape: Vec<usize>,
    pub(super) file: usize,
    pub(super) offset: u64,
}

/// Reads the header of `source`, which is file `index` of its checkpoint, and gives the tensors
/// in the order of the file. What carries no weights is left out: empty tensors, buffers of I64 and
/// BOOL, which old exports have, and what nobody needs ([`spare`]). Errors: `malformed`, `unsupported-format`, and whatever the source reports.
pub(super) async fn read_header(source: &Rc<dyn ByteSource>, index: usize) -> Result<Vec<Stored>> {
    let (file, size) = (source.name(), source.size_bytes());
    let head_bytes = size.min(sniff::HEAD_BYTES);
    let head = source.read(0, head_bytes as usize).await?;
    if !sniff::is_safetensors(&head) {
        return Err(sniff::not_a_model(file, &head, "safetensors"));
    }
    let mut length = [0; 8];
    length.copy_from_slice(&head[..8]);
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        let message = format!("found {length} bytes, expected at most {MAX_HEADER_BYTES}");
        return Err(Error::malformed(file, "header length", message));
    }
    if LENGTH_BYTES + length > size {
        let message = format!(
            "found {length}, but the file has {size} bytes: it is cut off, or the length is wrong"
        );
        return Err(Error::malformed(file, "header length", message));
    }
    let json = source.read(LENGTH_BYTES, length as usize).await?;
    parse_header(file, index, &json)
}

/// Parses the JSON of a header; tensor data begins after it.
fn parse_header(file: &str, index: usize, json: &[u8]) -> Result<Vec<Stored>> {
    let text = std::str::from_utf8(json).map_err(|error| {
        Error::malformed(file, "header", format!("invalid UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let header: Header = serde_json::from_str(text).map_err(|error| {
        Error::malformed(file, "header", format!("{error}, expected a table of tensors"))
    })?;
    let mut entries = header.entries;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let data_start = LENGTH_BYTES + json.len() as u64;
    let mut end_before = 0;
    let mut tensors = Vec::new();
    for (name, entry) in entries {
        let bad = |message: String| Error::malformed(file, &format!("tensor {name}"), message);
        let (start, end) = entry.data_offsets;
        if start != end_before || end < start {
            return Err(bad(format!(
                "bytes {start} to {end}, expected them to begin at byte {end_before} where the tensor before ends"
            )));
        }
        end_before = end;
        let dtype: Result<Dtype, NameError> =
            Dtype::deserialize(StrDeserializer::new(&entry.dtype));
        let dtype =
            dtype.map_err(|_| joined::unsupported(file, &name, &shortened(&entry.dtype)))?;
        entry.check_size(dtype).map_err(&bad)?;
        let is_empty = entry.shape.contains(&0);
        if !is_empty && !matches!(dtype, Dtype::I64 | Dtype::BOOL) && !spare::is_spare(&name) {
            let offset =
                data_start.checked_add(start).filter(|_| data_start.checked_add(end).is_some());
            let offset =
                offset.ok_or_else(|| bad(format!("ends at byte {end}, outside any file")))?;
            let shape = entry.axes().map_err(&bad)?;
            let blocks = header.metadata.get(&name).filter(|_| dtype == Dtype::U8).cloned();
            tensors.push(Stored { name, dtype, blocks, shape, file: index, offset });
        }
    }
    Ok(tensors)
}

/// A tensor as the header lists it.
#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Entry {
    /// The shape as memory sizes; the message lacks the tensor.
    fn axes(&self) -> Result<Vec<usize>, String> {
        if self.shape.len() > MAX_AXES {
            return Err(format!("{} axes, expected at most {MAX_AXES}", self.shape.len()));
        }
        let axis = |&length: &u64| usize::try_from(length).ok().filter(|&length| length > 0);
        let axes: Option<Vec<usize>> = self.shape.iter().map(axis).collect();
        axes.ok_or_else(|| format!("shape {:?}, expected axes of at least 1", self.shape))
    }

    /// Checks that size and shape agree; the message lacks the tensor.
    fn check_size(&self, dtype: Dtype) -> Result<(), String> {
        let elements =
            self.shape.iter().try_fold(1_u64, |product, &axis| product.checked_mul(axis));
        let bits = elements.and_then(|elements| elements.checked_mul(dtype.bitsize() as u64));
        let found = self.data_offsets.1 - self.data_offsets.0;
        match bits {
            Some(bits) if Some(bits) == found.checked_mul(8) => Ok(()),
            _ => Err(format!("{found} bytes do not fit shape {:?} in {dtype}", self.shape)),
        }
    }
}

/// The tensors of a header in the order of the text, names distinct.
struct Header {
    metadata: BTreeMap<String, String>,
    entries: Vec<(String, Entry)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut metadata = BTreeMap::new();
        let mut entries = Vec::new();
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("{} is listed twice", shortened(&name))));
            }
            if name == "__metadata__" {
                metadata =
                    map.next_value::<Option<BTreeMap<String, String>>>()?.unwrap_or_default();
                continue;
            }
            if entries.len() as u64 == MAX_TENSORS {
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            let entry = map.next_value().map_err(|error| {
                A::Error::custom(format!("tensor {}: {error}", shortened(&name)))
            })?;
            entries.push((name, entry));
        }
        Ok(Header { metadata, entries })
    }
}
