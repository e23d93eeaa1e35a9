//! A GGUF model in several files, as llama.cpp's `gguf-split` writes it: `NAME-00001-of-00003.gguf`
//! and so on.
//!
//! Each file has a header and tensors of its own and says its number, from 0, and how many there
//! are; the first says all the rest. Names only help to find the files.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::weights::gguf::{Header, read_header};
use crate::weights::metadata::Metadata;
use crate::weights::source::ByteSource;
use crate::weights::{Checkpoint, Container, MAX_TENSORS, Tensor, fused, shortened};

/// Most parts of a model.
pub(super) const MAX_PARTS: u64 = 1000;
/// Digits of a number in a name.
const DIGITS: usize = 5;
const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSOR_COUNT: &str = "split.tensors.count";

/// What a part's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartName<'a> {
    /// What all parts begin with.
    pub(super) stem: &'a str,
    /// From 1.
    number: u64,
    pub(super) count: u64,
}

impl PartName<'_> {
    /// Reads a file's name; `None` for one that is no part's.
    pub(super) fn of(name: &str) -> Option<PartName<'_>> {
        let (rest, extension) = name.split_at_checked(name.len().checked_sub(".gguf".len())?)?;
        let (rest, count) = rest.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| {
            let is_number = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_number)
        };
        let (number, count): (u64, u64) = (digits(number)?, digits(count)?);
        let is_part = extension.eq_ignore_ascii_case(".gguf") && (1..=count).contains(&number);
        is_part.then_some(PartName { stem, number, count })
    }

    /// Whether both are parts of one model.
    pub(super) fn is_beside(&self, other: &PartName<'_>) -> bool {
        (self.stem, self.count) == (other.stem, other.count)
    }
}

/// Opens the model of one GGUF file, or of all its parts in any order; `indices` into `files`.
pub(super) async fn open(
    files: Vec<Rc<dyn ByteSource>>,
    indices: Vec<usize>,
) -> Result<Checkpoint> {
    let mut parts = Parts { files: &files, headers: BTreeMap::new(), count: 1, tensor_count: None };
    for index in indices.iter().copied() {
        let header = read_header(&files[index], index).await?;
        if parts.headers.is_empty() {
            parts.count = count(&header.metadata)?;
            if parts.count == 1 && indices.len() > 1 {
                let names: Vec<&str> =
                    indices.iter().take(8).map(|&index| files[index].name()).collect();
                let found =
                    format!("{} .gguf files ({}), expected one", indices.len(), names.join(", "));
                return Err(Error::invalid_request("model", found));
            }
        }
        parts.add(index, header)?;
    }
    let (index, metadata, tensors) = parts.join()?;
    let name = files[index].name().to_owned();
    Ok(Checkpoint { name, container: Container::Gguf(metadata), tensors, files })
}

/// How many files hold the model.
fn count(metadata: &Metadata) -> Result<u64> {
    let count = metadata.u64(COUNT)?.unwrap_or(1).max(1);
    if count > MAX_PARTS {
        let message = format!("found {count} parts, expected at most {MAX_PARTS}");
        return Err(Error::malformed(metadata.file(), COUNT, message));
    }
    Ok(count)
}

/// The parts that were read, by number.
struct Parts<'a> {
    files: &'a [Rc<dyn ByteSource>],
    headers: BTreeMap<u64, (usize, Header)>,
    count: u64,
    /// Tensors of all parts, as the first that was read says it.
    tensor_count: Option<u64>,
}

impl Parts<'_> {
    /// Adds a part that belongs to those before.
    fn add(&mut self, index: usize, header: Header) -> Result<()> {
        let metadata = &header.metadata;
        let number = metadata.u64(NUMBER)?.filter(|_| self.count > 1).unwrap_or(0);
        let bad = |field: &str, found: String| Err(Error::malformed(metadata.file(), field, found));
        let first = self.headers.values().next().map(|(index, _)| self.files[*index].name());
        let names = [Some(metadata.file()), first].map(|name| name.and_then(PartName::of));
        let found = count(metadata)?;
        if found != self.count {
            let message = format!("found {found} parts, expected {}", self.count);
            return bad(COUNT, format!("{message} as in {}", first.unwrap_or_default()));
        }
        if let [Some(name), Some(other)] = names
            && !name.is_beside(&other)
        {
            let other = shortened(other.stem);
            return bad("file", format!("found a part of another model, expected one of {other}"));
        }
        if number >= self.count {
            return bad(
                NUMBER,
                format!("found {number}, expected less than the {} parts", self.count),
            );
        }
        if let [Some(name), _] = names
            && self.count > 1
            && (name.number, name.count) != (number + 1, self.count)
        {
            let expected =
                format!("expected {} of {}, as the name says", name.number - 1, name.count);
            return bad(NUMBER, format!("found {number} of {}, {expected}", self.count));
        }
        let tensor_count = metadata.u64(TENSOR_COUNT)?;
        if let (Some(found), Some(expected)) = (tensor_count, self.tensor_count)
            && found != expected
        {
            let message = format!("found {found} in all parts, expected {expected}");
            return bad(TENSOR_COUNT, format!("{message} as in {}", first.unwrap_or_default()));
        }
        self.tensor_count = self.tensor_count.or(tensor_count);
        if let Some((twin, _)) = self.headers.get(&number) {
            let twin = self.files[*twin].name();
            return bad(NUMBER, format!("found {number}, which {twin} has too"));
        }
        self.headers.insert(number, (index, header));
        Ok(())
    }

    /// The first part's file and what it says, and the tensors of all.
    fn join(self) -> Result<(usize, Metadata, BTreeMap<String, Tensor>)> {
        self.check_all_there()?;
        let files = self.files;
        let mut parts = self.headers.into_values();
        let Some((index, Header { metadata, mut tensors, mut tensor_count })) = parts.next() else {
            return Err(Error::internal("no part of a model"));
        };
        for (index, part) in parts {
            tensor_count += part.tensor_count;
            if tensor_count > MAX_TENSORS {
                let message = format!("found more than {MAX_TENSORS} in all parts");
                return Err(Error::malformed(files[index].name(), "tensor count", message));
            }
            for (name, tensor) in part.tensors {
                if let Some(twin) = tensors.get(&name) {
                    let message = format!("is in {} too", files[twin.file].name());
                    return Err(Error::malformed(
                        files[index].name(),
                        &format!("tensor {name}"),
                        message,
                    ));
                }
                tensors.insert(name, tensor);
            }
        }
        if let Some(expected) = self.tensor_count.filter(|expected| *expected != tensor_count) {
            let message = format!("found {tensor_count} in all parts, expected {expected}");
            return Err(Error::malformed(metadata.file(), TENSOR_COUNT, message));
        }
        fused::split(&metadata, &mut tensors)?;
        Ok((index, metadata, tensors))
    }

    /// `malformed`, naming the first part that is missing.
    fn check_all_there(&self) -> Result<()> {
        let found = self.headers.len() as u64;
        let Some(missing) = (0..self.count).find(|number| !self.headers.contains_key(number))
        else {
            return Ok(());
        };
        let some = self.headers.values().next().map_or("", |(index, _)| self.files[*index].name());
        let part = match PartName::of(some) {
            Some(name) => format!("{}-{:05}-of-{:05}.gguf", name.stem, missing + 1, self.count),
            None => format!("part {} of {some}", missing + 1),
        };
        let message = format!("not there, found {found} of {} parts", self.count);
        Err(Error::malformed(&shortened(&part), "file", message))
    }
}
