//! GGUF, versions 2 and 3: header, keys and values, tensor list.
//!
//! The parser works on the first bytes of the file and says how many more it needs; reading
//! starts with a piece of 1 MiB and doubles, so a header costs at most twice its own parsing.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use crate::error::{Code, Error, Result};
use crate::formats::Format;
use crate::weights::metadata::{Array, Kind, Metadata, Scalar, Value, decode};
use crate::weights::source::ByteSource;
use crate::weights::{Claim, MAX_TENSORS, Tensor, check_overlaps, shortened, sniff, spare};

/// First piece that is read.
const PIECE_BYTES: u64 = 1 << 20;
/// Longest header.
const MAX_HEADER_BYTES: u64 = 256 << 20;
/// Most keys.
const MAX_KEYS: u64 = 1_000_000;
/// Most elements of an array.
const MAX_ELEMENTS: u64 = 1 << 31;
/// Longest key or tensor name.
const MAX_NAME_BYTES: u64 = 65_535;
/// Axes of a tensor.
const MAX_AXES: u32 = 4;
/// Most weights of a tensor, so that nobody's arithmetic overflows later.
const MAX_WEIGHTS: u64 = 1 << 40;
/// Alignment of tensor data where the file does not say.
const ALIGNMENT_DEFAULT: u64 = 32;
/// Largest alignment that makes sense.
const MAX_ALIGNMENT: u64 = 1 << 20;

/// What the beginning of a file says.
pub(super) struct Header {
    pub(super) metadata: Metadata,
    /// Tensors by name, but for those without elements.
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// Tensors that are listed.
    pub(super) tensor_count: u64,
}

/// Reads the header of `source`, which is file `index` of its checkpoint. Errors: `malformed`,
/// `unsupported-format`, and whatever the source reports.
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
                return Err(Error::malformed(
                    file,
                    "header",
                    format!("needs {needed} bytes, expected at most {MAX_HEADER_BYTES}"),
                ));
            }
        }
    }
}

/// Why parsing stopped.
enum Stop {
    /// The first so many bytes of the file are needed.
    More(u64),
    /// The file is wrong.
    Bad(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Bad(error)
    }
}

type Parse<T> = Result<T, Stop>;

/// A tensor as the file lists it.
struct Entry {
    name: String,
    format: Format,
    shape: Vec<usize>,
    size_bytes: u64,
    /// Relative to the beginning of the tensor data.
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
            return Err(reader.bad(format_args!("tensor {}", twin.name), "is listed twice"));
        }
    }
    let claims = tensors.values().map(|tensor: &Tensor| Claim {
        name: &tensor.name,
        start: tensor.offset,
        end: tensor.offset + tensor.size_bytes,
    });
    check_overlaps(file, claims.collect())?;
    tensors.retain(|name, _| !spare::is_spare(name));
    Ok(Header { metadata, tensors, tensor_count })
}

/// The alignment of tensor data: a power of two.
fn alignment(metadata: &Metadata) -> Result<u64> {
    const KEY: &str = "general.alignment";
    let alignment = metadata.u64(KEY)?.unwrap_or(ALIGNMENT_DEFAULT);
    if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT {
        return Ok(alignment);
    }
    let expected = format!("found {alignment}, expected a power of two up to {MAX_ALIGNMENT}");
    Err(Error::malformed(metadata.file(), KEY, expected))
}

/// The tensor with its absolute place.
fn place(file: &str, index: usize, data_start: u64, entry: Entry) -> Result<Tensor> {
    let Entry { name, format, shape, size_bytes, offset } = entry;
    let start = data_start.checked_add(offset);
    if start.and_then(|start| start.checked_add(size_bytes)).is_none() {
        return Err(Error::malformed(
            file,
            &format!("tensor {name}"),
            format!("offset {offset} and size {size_bytes} lie outside any file"),
        ));
    }
    Ok(Tensor {
        name,
        format,
        shape,
        file: index,
        offset: start.unwrap_or(offset),
        size_bytes,
        joined: None,
    })
}

/// Reads numbers and strings from the first bytes of the file.
struct Reader<'a> {
    file: &'a str,
    /// The whole file's size.
    size: u64,
    bytes: &'a [u8],
    at: u64,
}

impl<'a> Reader<'a> {
    /// `malformed`, naming the field.
    fn bad(&self, field: impl Display, message: impl Display) -> Stop {
        Stop::Bad(Error::malformed(self.file, &field.to_string(), message))
    }

    /// The next `length` bytes.
    fn take(&mut self, length: u64, field: impl Display) -> Parse<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.size);
        let Some(end) = end else {
            let message = format!(
                "needs {length} bytes at byte {}, the file ends at byte {}: it is cut off, or the length is wrong",
                self.at, self.size
            );
            return Err(self.bad(field, message));
        };
        // Within usize: both lie inside the bytes that are in memory, or `get` refuses.
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

    /// Magic and version.
    fn version(&mut self) -> Parse<()> {
        let head = &self.bytes[..self.bytes.len().min(sniff::HEAD_BYTES as usize)];
        let may_be_gguf =
            head.starts_with(b"GGUF") || (!head.is_empty() && b"GGUF".starts_with(head));
        if !may_be_gguf {
            return Err(Stop::Bad(sniff::not_a_model(self.file, head, "GGUF")));
        }
        self.take(4, "magic")?;
        match self.u32("version")? {
            2 | 3 => Ok(()),
            version if version.swap_bytes() <= 3 && version != 0 => {
                Err(self.bad("version", "big-endian file, expected a little-endian one"))
            }
            version => Err(self.bad("version", format_args!("found {version}, expected 2 or 3"))),
        }
    }

    /// A count of things that take at least `bytes_min` of the file each.
    fn count(&mut self, field: &str, max: u64, bytes_min: u64) -> Parse<u64> {
        let count = self.u64(field)?;
        if count > max {
            return Err(self.bad(field, format_args!("found {count}, expected at most {max}")));
        }
        let room = (self.size - self.at) / bytes_min;
        if count > room {
            let message = format!(
                "found {count}, but the rest of the file has room for {room}: it is cut off, or the count is wrong"
            );
            return Err(self.bad(field, message));
        }
        Ok(count)
    }

    /// A key or a tensor's name.
    fn name(&mut self, field: impl Display + Copy) -> Parse<String> {
        let length = self.u64(format_args!("{field}: length of the name"))?;
        if length == 0 || length > MAX_NAME_BYTES {
            let message = format!("name of {length} bytes, expected 1 to {MAX_NAME_BYTES}");
            return Err(self.bad(field, message));
        }
        let bytes = self.take(length, format_args!("{field}: name"))?;
        match std::str::from_utf8(bytes) {
            Ok(name) if !name.contains('\0') => Ok(name.to_owned()),
            _ => Err(self.bad(field, "name is not UTF-8 text")),
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
                return Err(self.bad(format_args!("key {}", shortened(&key)), "is there twice"));
            }
        }
        Ok(values)
    }

    fn kind(&mut self, key: &str) -> Parse<Kind> {
        let number = self.u32(format_args!("{key}: type"))?;
        Kind::from_number(number)
            .ok_or_else(|| self.bad(key, format_args!("type {number}, expected 0 to 12")))
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
                Err(self.bad(key, format_args!("bool of value {byte}, expected 0 or 1")))
            }
            _ => Ok(()),
        }
    }

    fn array(&mut self, key: &str) -> Parse<Array> {
        let kind = self.kind(key)?;
        if kind == Kind::Array {
            return Err(self.bad(key, "array of arrays, expected numbers or strings"));
        }
        let size_bytes = kind.size_bytes();
        // A string takes at least its length.
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

    /// One line of the tensor list; `None` for a tensor without elements.
    fn entry(&mut self, number: u64, count: u64, alignment: u64) -> Parse<Option<Entry>> {
        let name = self.name(format_args!("tensor {} of {count}", number + 1))?;
        let field = format!("tensor {name}");
        let axes = self.u32(format_args!("{field}: axes"))?;
        if axes == 0 || axes > MAX_AXES {
            return Err(self.bad(field, format_args!("{axes} axes, expected 1 to {MAX_AXES}")));
        }
        let mut shape = Vec::new();
        for axis in 0..axes {
            let length = self.u64(format_args!("{field}: axis {axis}"))?;
            let fitting = usize::try_from(length);
            shape.push(fitting.map_err(|_| {
                self.bad(
                    &field,
                    format_args!(
                        "axis {axis} has length {length}, expected at most {}",
                        usize::MAX
                    ),
                )
            })?);
        }
        // The file lists the innermost axis first.
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
            self.bad(&field, format_args!("shape {shape:?}: {}", error.message()))
        })?;
        if !offset.is_multiple_of(alignment) {
            let message = format!("offset {offset}, expected a multiple of {alignment}");
            return Err(self.bad(field, message));
        }
        Ok(Some(Entry { name, format, shape, size_bytes, offset }))
    }
}

/// Stored bytes of a tensor; the message lacks file and tensor.
pub(super) fn size_bytes(format: Format, shape: &[usize]) -> Result<u64> {
    let row_bytes = format.row_bytes(shape.last().copied().unwrap_or(1))?;
    let weights = shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis));
    let weights = weights.filter(|&weights| weights as u64 <= MAX_WEIGHTS).ok_or_else(|| {
        Error::new(Code::Malformed, format!("too many weights, expected at most {MAX_WEIGHTS}"))
    })?;
    // Neither overflows: the limit leaves room for the largest format and for sums of tensors.
    let rows = weights / shape.last().copied().unwrap_or(1).max(1);
    Ok(rows as u64 * row_bytes as u64)
}

/// `unsupported-format`, naming tensor and format.
fn unsupported(file: &str, field: &str, number: u32) -> Error {
    let name = Format::gguf_type_name(number).unwrap_or("unknown");
    let ours = Format::ALL.into_iter().filter(|format| format.gguf_type().is_some());
    let ours: Vec<&str> = ours.map(Format::name).collect();
    Error::new(
        Code::UnsupportedFormat,
        format!(
            "{file}: {field}: format {name} (type {number}), expected one of {}",
            ours.join(", ")
        ),
    )
}
