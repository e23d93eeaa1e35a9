//! The header of a GGUF file, versions 2 and 3: metadata and tensor list.
//! Specification: `docs/gguf.md` of ggml.
//!
//! The parser works on the first bytes of the file and reports how many more it needs; then parsing
//! starts again. The bytes read, 1 MiB at first, at least double each time, so that all attempts
//! together parse at most twice the bytes read in the end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use super::metadata::{Array, Kind, Metadata, Scalar, Value, decode};
use crate::error::{Error, Result, quoted};
use crate::formats::Format;
use crate::weights::source::ByteSource;
use crate::weights::tensor::{Claim, MAX_TENSORS, Tensor, check_overlaps, size_bytes};
use crate::weights::{detect, unused_tensors};

/// Size of the first read.
const PIECE_BYTES: u64 = 1 << 20;
/// Maximum size of a header.
const MAX_HEADER_BYTES: u64 = 256 << 20;
/// Maximum number of metadata keys.
const MAX_KEYS: u64 = 1_000_000;
/// Maximum elements of a metadata array.
const MAX_ELEMENTS: u64 = 1 << 31;
/// Maximum length of a key or tensor name.
const MAX_NAME_BYTES: u64 = 65_535;
/// Maximum axes of a tensor.
const MAX_AXES: u32 = 4;
/// Alignment of tensor data if the file states none.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Maximum alignment.
const MAX_ALIGNMENT: u64 = 1 << 20;

/// Parsed header of a file.
pub(super) struct Header {
    pub(super) metadata: Metadata,
    /// Tensors by name, without empty and unused ones.
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// Number of listed tensors.
    pub(super) tensor_count: u64,
}

/// Reads the header of `source`, which is file `index` of its checkpoint. Errors: `malformed`,
/// `unsupported-format`, and errors of the source.
pub(super) async fn read_header(source: &Rc<dyn ByteSource>, index: usize) -> Result<Header> {
    let (file, size) = (source.name(), source.size_bytes());
    let mut bytes = Vec::new();
    let mut want = PIECE_BYTES.min(size);
    loop {
        let have = bytes.len() as u64;
        let length = usize::try_from(want - have).unwrap_or(usize::MAX);
        let piece = source.read(have, length).await?;
        if piece.len() != length {
            return Err(Error::internal(format!("{file}: read {} bytes of {length}", piece.len())));
        }
        bytes.extend_from_slice(&piece);
        match parse_header(file, size, index, &bytes) {
            Ok(header) => return Ok(header),
            Err(Stop::Bad(error)) => return Err(error),
            Err(Stop::More(needed)) if needed <= MAX_HEADER_BYTES => {
                want = needed.max(2 * want).min(size).min(MAX_HEADER_BYTES);
            }
            Err(Stop::More(needed)) => {
                let (found, expected) =
                    (format!("{needed} bytes"), format!("at most {MAX_HEADER_BYTES}"));
                return Err(Error::malformed_value(file, "header", found, expected));
            }
        }
    }
}

/// Reason why parsing stopped.
enum Stop {
    /// The first bytes of the file, up to this number, are required.
    More(u64),
    /// The file is invalid.
    Bad(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Bad(error)
    }
}

type Parse<T> = Result<T, Stop>;

/// A tensor as listed in the file.
struct Entry {
    name: String,
    format: Format,
    shape: Vec<usize>,
    size_bytes: u64,
    /// Byte offset relative to the start of the tensor data.
    offset: u64,
}

fn parse_header(file: &str, size: u64, index: usize, bytes: &[u8]) -> Parse<Header> {
    let mut reader = Reader { file, size, bytes, at: 0 };
    reader.version()?;
    let tensor_count = reader.count("tensor count", MAX_TENSORS, 8 + 4 + 8 + 4 + 8)?;
    let key_count = reader.count("key count", MAX_KEYS, 8 + 4 + 1)?;
    let values = reader.values(key_count)?;
    let metadata = Metadata { file: file.to_owned(), values };
    let alignment = alignment(&metadata)?;
    let mut entries = Vec::new();
    for number in 0..tensor_count {
        entries.extend(reader.entry(number, tensor_count, alignment)?);
    }
    let data_start = reader.at.next_multiple_of(alignment);
    let mut tensors = BTreeMap::new();
    for entry in entries {
        let tensor = place(file, index, data_start, entry)?;
        if let Some(twin) = tensors.insert(tensor.name.clone(), tensor) {
            let (field, found) = (format_args!("tensor {}", twin.name), "the tensor twice");
            return Err(reader.bad(field, found, "distinct names"));
        }
    }
    let claims = tensors.values().map(|tensor: &Tensor| Claim {
        name: &tensor.name,
        start: tensor.offset,
        end: tensor.offset + tensor.size_bytes,
    });
    check_overlaps(file, claims.collect())?;
    tensors.retain(|name, _| !unused_tensors::is_unused(name));
    Ok(Header { metadata, tensors, tensor_count })
}

/// Alignment of tensor data: a power of two.
fn alignment(metadata: &Metadata) -> Result<u64> {
    const KEY: &str = "general.alignment";
    let alignment = metadata.u64(KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT {
        return Ok(alignment);
    }
    let expected = format!("a power of two up to {MAX_ALIGNMENT}");
    Err(Error::malformed_value(metadata.file(), KEY, alignment, expected))
}

/// Tensor with an absolute byte offset.
fn place(file: &str, index: usize, data_start: u64, entry: Entry) -> Result<Tensor> {
    let Entry { name, format, shape, size_bytes, offset } = entry;
    let start = data_start.checked_add(offset);
    if start.and_then(|start| start.checked_add(size_bytes)).is_none() {
        let found = format!("offset {offset} and size {size_bytes}");
        let (field, expected) = (format!("tensor {name}"), "a place inside the file");
        return Err(Error::malformed_value(file, &field, found, expected));
    }
    Ok(Tensor {
        name,
        format,
        shape,
        file: index,
        offset: start.unwrap_or(offset),
        size_bytes,
        separate_scales: None,
        integers: None,
    })
}

/// Parser of the first bytes of a file.
struct Reader<'a> {
    file: &'a str,
    /// Size of the whole file.
    size: u64,
    bytes: &'a [u8],
    at: u64,
}

impl<'a> Reader<'a> {
    /// `malformed`, naming the field.
    fn bad(&self, field: impl Display, found: impl Display, expected: impl Display) -> Stop {
        Stop::Bad(Error::malformed_value(self.file, &field.to_string(), found, expected))
    }

    /// Takes the next `length` bytes.
    fn take(&mut self, length: u64, field: impl Display) -> Parse<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.size);
        let Some(end) = end else {
            let found = format!("the end of the file at byte {}", self.size);
            let expected = format!(
                "{length} bytes at byte {}: the file is cut off, or the length is wrong",
                self.at
            );
            return Err(self.bad(field, found, expected));
        };
        // Both fit into usize if they lie inside the bytes in memory; otherwise `get` fails.
        let range = self.at as usize..end as usize;
        let Some(taken) = self.bytes.get(range).filter(|_| end <= self.bytes.len() as u64) else {
            return Err(Stop::More(end));
        };
        self.at = end;
        Ok(taken)
    }

    fn u32(&mut self, field: impl Display) -> Parse<u32> {
        let bytes = self.take(4, field)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn u64(&mut self, field: impl Display) -> Parse<u64> {
        let mut wide = [0; 8];
        wide.copy_from_slice(self.take(8, field)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// Checks magic and version.
    fn version(&mut self) -> Parse<()> {
        let head = &self.bytes[..self.bytes.len().min(detect::HEAD_BYTES as usize)];
        let may_be_gguf =
            head.starts_with(b"GGUF") || (!head.is_empty() && b"GGUF".starts_with(head));
        if !may_be_gguf {
            return Err(Stop::Bad(detect::not_a_model(self.file, head, "GGUF")));
        }
        self.take(4, "magic")?;
        match self.u32("version")? {
            2 | 3 => Ok(()),
            version if version.swap_bytes() <= 3 && version != 0 => {
                Err(self.bad("version", "a big-endian file", "a little-endian one"))
            }
            version => Err(self.bad("version", version, "2 or 3")),
        }
    }

    /// Reads the count of objects that each take at least `min_bytes` in the file.
    fn count(&mut self, field: &str, max: u64, min_bytes: u64) -> Parse<u64> {
        let count = self.u64(field)?;
        if count > max {
            return Err(self.bad(field, count, format_args!("at most {max}")));
        }
        let room = (self.size - self.at) / min_bytes;
        if count > room {
            let expected = format!(
                "at most {room} in the rest of the file: it is cut off, or the count is wrong"
            );
            return Err(self.bad(field, count, expected));
        }
        Ok(count)
    }

    /// Reads a key or a tensor's name.
    fn name(&mut self, field: impl Display + Copy) -> Parse<String> {
        let length = self.u64(format_args!("{field}: length of the name"))?;
        if length == 0 || length > MAX_NAME_BYTES {
            let found = format!("a name of {length} bytes");
            return Err(self.bad(field, found, format_args!("1 to {MAX_NAME_BYTES}")));
        }
        let bytes = self.take(length, format_args!("{field}: name"))?;
        match std::str::from_utf8(bytes) {
            Ok(name) if !name.contains('\0') => Ok(name.to_owned()),
            _ => Err(self.bad(field, "a name that is not text", "UTF-8 without NUL")),
        }
    }

    fn values(&mut self, key_count: u64) -> Parse<BTreeMap<String, Value>> {
        let mut values = BTreeMap::new();
        for number in 0..key_count {
            let key = self.name(format_args!("key {} of {key_count}", number + 1))?;
            let kind = self.kind(&key)?;
            let value = match kind {
                Kind::String => Value::String(self.string(&key)?.to_vec()),
                Kind::Array => Value::Array(self.array(&key)?),
                number => Value::Scalar(self.scalar(&key, number)?),
            };
            if values.insert(key.clone(), value).is_some() {
                let field = format!("key {}", quoted(&key));
                return Err(self.bad(field, "the key twice", "distinct keys"));
            }
        }
        Ok(values)
    }

    fn kind(&mut self, key: &str) -> Parse<Kind> {
        let number = self.u32(format_args!("{key}: type"))?;
        Kind::from_number(number)
            .ok_or_else(|| self.bad(key, format_args!("type {number}"), "0 to 12"))
    }

    fn string(&mut self, field: impl Display + Copy) -> Parse<&'a [u8]> {
        let length = self.u64(format_args!("{field}: length"))?;
        self.take(length, field)
    }

    fn scalar(&mut self, key: &str, kind: Kind) -> Parse<Scalar> {
        let bytes = self.take(kind.size_bytes().unwrap_or(0) as u64, key)?;
        self.check_bools(key, kind, bytes)?;
        Ok(decode(kind, bytes))
    }

    fn check_bools(&self, key: &str, kind: Kind, bytes: &[u8]) -> Parse<()> {
        match bytes.iter().find(|&&byte| byte > 1) {
            Some(byte) if kind == Kind::Bool => {
                Err(self.bad(key, format_args!("a bool of value {byte}"), "0 or 1"))
            }
            _ => Ok(()),
        }
    }

    fn array(&mut self, key: &str) -> Parse<Array> {
        let kind = self.kind(key)?;
        if kind == Kind::Array {
            return Err(self.bad(key, "an array of arrays", "numbers or strings"));
        }
        let size_bytes = kind.size_bytes();
        // Each string has at least a length.
        let count = self.count(key, MAX_ELEMENTS, size_bytes.unwrap_or(8) as u64)?;
        let elements = usize::try_from(count).unwrap_or(usize::MAX);
        if let Some(size_bytes) = size_bytes {
            let bytes = self.take(count * size_bytes as u64, key)?;
            self.check_bools(key, kind, bytes)?;
            return Ok(Array { kind, count: elements, bytes: bytes.to_vec(), ends: Vec::new() });
        }
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for index in 0..count {
            bytes.extend_from_slice(self.string(format_args!("{key}[{index}]"))?);
            // A header is shorter than 4 GiB.
            ends.push(bytes.len() as u32);
        }
        Ok(Array { kind, count: elements, bytes, ends })
    }

    /// Reads an entry of the tensor list; `None` for an empty tensor.
    fn entry(&mut self, number: u64, count: u64, alignment: u64) -> Parse<Option<Entry>> {
        let name = self.name(format_args!("tensor {} of {count}", number + 1))?;
        let field = format!("tensor {name}");
        let axes = self.u32(format_args!("{field}: axes"))?;
        if axes == 0 || axes > MAX_AXES {
            let found = format!("{axes} axes");
            return Err(self.bad(field, found, format_args!("1 to {MAX_AXES}")));
        }
        let mut shape = Vec::new();
        for axis in 0..axes {
            let length = self.u64(format_args!("{field}: axis {axis}"))?;
            let fitting = usize::try_from(length);
            shape.push(fitting.map_err(|_| {
                let found = format!("axis {axis} of length {length}");
                self.bad(&field, found, format_args!("at most {}", usize::MAX))
            })?);
        }
        // The innermost axis is listed first.
        shape.reverse();
        let number = self.u32(format_args!("{field}: format"))?;
        let offset = self.u64(format_args!("{field}: offset"))?;
        if shape.contains(&0) {
            return Ok(None);
        }
        let Some(format) = Format::from_gguf_type(number) else {
            return Err(Stop::Bad(unsupported(self.file, &field, number)));
        };
        let size_bytes = size_bytes(format, &shape).map_err(|error| {
            let message = format!("shape {shape:?}: {}", error.message());
            Stop::Bad(Error::malformed(self.file, &field, message))
        })?;
        if !offset.is_multiple_of(alignment) {
            let expected = format_args!("a multiple of {alignment}");
            return Err(self.bad(field, format_args!("offset {offset}"), expected));
        }
        Ok(Some(Entry { name, format, shape, size_bytes, offset }))
    }
}

/// `unsupported-format`, naming tensor and format.
fn unsupported(file: &str, field: &str, number: u32) -> Error {
    let name = Format::gguf_type_name(number).unwrap_or("unknown");
    let ours = Format::ALL.into_iter().filter(|format| format.gguf_type().is_some());
    let ours: Vec<&str> = ours.map(Format::name).collect();
    let found = format!("format {name} (type {number})");
    Error::unsupported_value(file, field, found, format!("one of {}", ours.join(", ")))
}
