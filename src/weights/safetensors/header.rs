//! The header of a safetensors file.
//!
//! Element types and their sizes are those of the `safetensors` crate. The header is parsed here
//! because the crate stores offsets as `usize`, which ends at 4 GiB in wasm32 while shards of 5 GB
//! are common, silently takes the last of two tensors of the same name, and does not report which
//! tensor is invalid. A fuzz target checks that the crate accepts whatever is accepted here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use ::safetensors::Dtype;
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::error::{Error, Result, mismatch, quoted};
use crate::weights::source::ByteSource;
use crate::weights::tensor::MAX_TENSORS;
use crate::weights::{detect, unused_tensors};

/// Maximum size of a header, as in the reference implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Maximum axes of a tensor: more than in GGUF, for tensors that no language model uses.
const MAX_AXES: usize = 8;
/// Size of the header length at the start of a file.
const LENGTH_BYTES: u64 = 8;

/// A tensor as stored in a file; it may be only a part of a weight (see [`super::schemes`]).
#[derive(Debug)]
pub(super) struct StoredTensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    /// Name of the weight format of a U8 tensor's blocks, from `__metadata__`.
    pub(super) format_name: Option<String>,
    pub(super) shape: Vec<usize>,
    pub(super) file: usize,
    pub(super) offset: u64,
}

/// Reads the header of `source`, which is file `index` of its checkpoint; returns the tensors in
/// the order of the file. Tensors without weights are omitted: empty ones, I64 and BOOL buffers of
/// old exports, and [`unused_tensors`]. Errors: `malformed`, `unsupported-format`, and errors of
/// the source.
pub(super) async fn read_header(
    source: &Rc<dyn ByteSource>,
    index: usize,
) -> Result<Vec<StoredTensor>> {
    let (file, size) = (source.name(), source.size_bytes());
    let head_bytes = size.min(detect::HEAD_BYTES);
    let head = source.read(0, head_bytes as usize).await?;
    if !detect::is_safetensors(&head) {
        return Err(detect::not_a_model(file, &head, "safetensors"));
    }
    let mut length = [0; 8];
    length.copy_from_slice(&head[..8]);
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        let (found, expected) = (format!("{length} bytes"), format!("at most {MAX_HEADER_BYTES}"));
        return Err(Error::malformed_value(file, "header length", found, expected));
    }
    if LENGTH_BYTES + length > size {
        let expected =
            format!("at most the {size} bytes of the file: it is cut off, or the length is wrong");
        return Err(Error::malformed_value(file, "header length", length, expected));
    }
    let json = source.read(LENGTH_BYTES, length as usize).await?;
    parse_header(file, index, &json)
}

/// Parses the JSON of a header. The tensor data starts right after it.
fn parse_header(file: &str, index: usize, json: &[u8]) -> Result<Vec<StoredTensor>> {
    let text = std::str::from_utf8(json).map_err(|error| {
        let found = format!("invalid UTF-8 at byte {}", error.valid_up_to());
        Error::malformed_value(file, "header", found, "UTF-8")
    })?;
    let header: Header = serde_json::from_str(text)
        .map_err(|error| Error::malformed_value(file, "header", error, "a table of tensors"))?;
    let mut entries = header.entries;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let data_start = LENGTH_BYTES + json.len() as u64;
    let mut previous_end = 0;
    let mut tensors = Vec::new();
    for (name, entry) in entries {
        let bad = |message: String| Error::malformed(file, &format!("tensor {name}"), message);
        let (start, end) = entry.data_offsets;
        if start != previous_end || end < start {
            let found = format!("bytes {start} to {end}");
            let expected = format!("a start at byte {previous_end}, the end of the tensor before");
            return Err(bad(mismatch(found, expected)));
        }
        previous_end = end;
        let dtype: Result<Dtype, NameError> =
            Dtype::deserialize(StrDeserializer::new(&entry.dtype));
        let dtype = dtype.map_err(|_| unsupported_dtype(file, &name, &quoted(&entry.dtype)))?;
        entry.check_size(dtype).map_err(&bad)?;
        let is_empty = entry.shape.contains(&0);
        let is_buffer = matches!(dtype, Dtype::I64 | Dtype::BOOL);
        if !is_empty && !is_buffer && !unused_tensors::is_unused(&name) {
            let offset =
                data_start.checked_add(start).filter(|_| data_start.checked_add(end).is_some());
            let offset = offset
                .ok_or_else(|| bad(mismatch(format!("an end at byte {end}"), "a smaller one")))?;
            let shape = entry.axes().map_err(&bad)?;
            let format_name = header.metadata.get(&name).filter(|_| dtype == Dtype::U8).cloned();
            tensors.push(StoredTensor { name, dtype, format_name, shape, file: index, offset });
        }
    }
    Ok(tensors)
}

/// `unsupported-format` for an element type.
pub(super) fn unsupported_dtype(file: &str, tensor: &str, found: &str) -> Error {
    let found = format!("element type {found}");
    let expected = "F32, F16, BF16, F8_E4M3 or MLX's U32";
    Error::unsupported_value(file, &format!("tensor {tensor}"), found, expected)
}

/// A tensor as listed in the header.
#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Entry {
    /// Shape in `usize`. The error message does not name the tensor.
    fn axes(&self) -> Result<Vec<usize>, String> {
        if self.shape.len() > MAX_AXES {
            let found = format!("{} axes", self.shape.len());
            return Err(mismatch(found, format!("at most {MAX_AXES}")));
        }
        let axis = |&length: &u64| usize::try_from(length).ok().filter(|&length| length > 0);
        let axes: Option<Vec<usize>> = self.shape.iter().map(axis).collect();
        axes.ok_or_else(|| mismatch(format!("shape {:?}", self.shape), "axes of at least 1"))
    }

    /// Checks that size, shape and type agree. The error message does not name the tensor.
    fn check_size(&self, dtype: Dtype) -> Result<(), String> {
        let elements =
            self.shape.iter().try_fold(1_u64, |product, &axis| product.checked_mul(axis));
        let bits = elements.and_then(|elements| elements.checked_mul(dtype.bitsize() as u64));
        let found = self.data_offsets.1 - self.data_offsets.0;
        match bits {
            Some(bits) if Some(bits) == found.checked_mul(8) => Ok(()),
            _ => Err(mismatch(
                format!("{found} bytes"),
                format!("the size of shape {:?} in {dtype}", self.shape),
            )),
        }
    }
}

/// A parsed header: its tensors in the order of the text, with distinct names.
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
                return Err(A::Error::custom(format!("{} twice", quoted(&name))));
            }
            if name == "__metadata__" {
                metadata =
                    map.next_value::<Option<BTreeMap<String, String>>>()?.unwrap_or_default();
                continue;
            }
            if entries.len() as u64 == MAX_TENSORS {
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            let entry = map
                .next_value()
                .map_err(|error| A::Error::custom(format!("tensor {}: {error}", quoted(&name))))?;
            entries.push((name, entry));
        }
        Ok(Header { metadata, entries })
    }
}
