//! GGUF models split into several files by llama.cpp's `gguf-split`, named
//! `NAME-00001-of-00003.gguf` and so on.
//!
//! Each file has a header, its number (from 0), the number of files, and some of the tensors. The
//! first file has all other metadata. Names only serve to find the files.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::header::{Header, read_header};
use super::metadata::Metadata;
use super::nvfp4_factors;
use crate::error::{Error, Result, quoted};
use crate::weights::checkpoint::{Checkpoint, Container};
use crate::weights::fused_tensors;
use crate::weights::source::ByteSource;
use crate::weights::tensor::{MAX_TENSORS, Tensor};

/// Maximum parts of a model.
pub(super) const MAX_PARTS: u64 = 1000;
/// Digits of a number in a file name.
const DIGITS: usize = 5;
const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSOR_COUNT: &str = "split.tensors.count";

/// Parsed name of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::weights) struct PartName<'a> {
    /// Common start of the names of all parts.
    stem: &'a str,
    /// Number of the part, from 1.
    number: u64,
    count: u64,
}

impl PartName<'_> {
    /// Parses a file name; `None` if it is not that of a part.
    pub(in crate::weights) fn parse(name: &str) -> Option<PartName<'_>> {
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

    /// True if both are parts of the same model.
    pub(in crate::weights) fn is_same_model(&self, other: &PartName<'_>) -> bool {
        (self.stem, self.count) == (other.stem, other.count)
    }
}

/// Opens the model of a GGUF file, or of all its parts in any order. `indices` are the GGUF files
/// among `files`.
pub(in crate::weights) async fn open(
    files: Vec<Rc<dyn ByteSource>>,
    indices: Vec<usize>,
) -> Result<Checkpoint> {
    let mut parts = Parts { files: &files, headers: BTreeMap::new(), count: 1, tensor_count: None };
    for index in indices.iter().copied() {
        let header = read_header(&files[index], index).await?;
        if parts.headers.is_empty() {
            parts.count = part_count(&header.metadata)?;
            if parts.count == 1 && indices.len() > 1 {
                let names: Vec<&str> =
                    indices.iter().take(8).map(|&index| files[index].name()).collect();
                let found = format!("{} .gguf files ({})", indices.len(), names.join(", "));
                return Err(Error::invalid_value("model", found, "one model"));
            }
        }
        parts.add(index, header)?;
    }
    let (index, metadata, tensors) = parts.join()?;
    let name = files[index].name().to_owned();
    Ok(Checkpoint { name, container: Container::Gguf(metadata), tensors, files })
}

/// Number of files of the model.
fn part_count(metadata: &Metadata) -> Result<u64> {
    let count = metadata.u64(COUNT)?.unwrap_or(1).max(1);
    if count > MAX_PARTS {
        let expected = format!("at most {MAX_PARTS}");
        return Err(Error::malformed_value(metadata.file(), COUNT, count, expected));
    }
    Ok(count)
}

/// Parts that have been read, by number.
struct Parts<'a> {
    files: &'a [Rc<dyn ByteSource>],
    headers: BTreeMap<u64, (usize, Header)>,
    count: u64,
    /// Tensors of all parts together, as stated by the part that was read first.
    tensor_count: Option<u64>,
}

impl Parts<'_> {
    /// Adds a part after checking that it belongs to those before.
    fn add(&mut self, index: usize, header: Header) -> Result<()> {
        let metadata = &header.metadata;
        let number = metadata.u64(NUMBER)?.filter(|_| self.count > 1).unwrap_or(0);
        let bad = |field: &str, found: String, expected: String| {
            Err(Error::malformed_value(metadata.file(), field, found, expected))
        };
        let first = self.headers.values().next().map(|(index, _)| self.files[*index].name());
        let names = [Some(metadata.file()), first].map(|name| name.and_then(PartName::parse));
        let found = part_count(metadata)?;
        if found != self.count {
            let expected = format!("{} as in {}", self.count, first.unwrap_or_default());
            return bad(COUNT, found.to_string(), expected);
        }
        if let [Some(name), Some(other)] = names
            && !name.is_same_model(&other)
        {
            let expected = format!("one of {}", quoted(other.stem));
            return bad("file", "a part of another model".to_owned(), expected);
        }
        if number >= self.count {
            return bad(NUMBER, number.to_string(), format!("less than {} parts", self.count));
        }
        if let [Some(name), _] = names
            && self.count > 1
            && (name.number, name.count) != (number + 1, self.count)
        {
            let found = format!("{number} of {}", self.count);
            let expected = format!("{} of {} as in the file name", name.number - 1, name.count);
            return bad(NUMBER, found, expected);
        }
        let tensor_count = metadata.u64(TENSOR_COUNT)?;
        if let (Some(found), Some(expected)) = (tensor_count, self.tensor_count)
            && found != expected
        {
            let expected = format!("{expected} as in {}", first.unwrap_or_default());
            return bad(TENSOR_COUNT, found.to_string(), expected);
        }
        self.tensor_count = self.tensor_count.or(tensor_count);
        if let Some((twin, _)) = self.headers.get(&number) {
            let twin = self.files[*twin].name();
            let found = format!("{number}, as in {twin}");
            return bad(NUMBER, found, "a different number for each part".to_owned());
        }
        self.headers.insert(number, (index, header));
        Ok(())
    }

    /// Index and metadata of the first part's file, and the tensors of all parts.
    fn join(self) -> Result<(usize, Metadata, BTreeMap<String, Tensor>)> {
        self.check_complete()?;
        let files = self.files;
        let mut parts = self.headers.into_values();
        let Some((index, Header { metadata, mut tensors, mut tensor_count })) = parts.next() else {
            return Err(Error::internal("no part of a model"));
        };
        for (index, part) in parts {
            tensor_count += part.tensor_count;
            if tensor_count > MAX_TENSORS {
                let (file, found) = (files[index].name(), format!("{tensor_count} in all parts"));
                let expected = format!("at most {MAX_TENSORS}");
                return Err(Error::malformed_value(file, "tensor count", found, expected));
            }
            for (name, tensor) in part.tensors {
                if let Some(twin) = tensors.get(&name) {
                    let (file, found) = (files[index].name(), files[twin.file].name());
                    return Err(Error::malformed_value(
                        file,
                        &format!("tensor {name}"),
                        format!("the tensor in {found} too"),
                        "it in one file",
                    ));
                }
                tensors.insert(name, tensor);
            }
        }
        if let Some(expected) = self.tensor_count.filter(|expected| *expected != tensor_count) {
            let found = format!("{tensor_count} in all parts");
            return Err(Error::malformed_value(metadata.file(), TENSOR_COUNT, found, expected));
        }
        nvfp4_factors::join(files, &mut tensors)?;
        fused_tensors::split_gguf(&metadata, &mut tensors)?;
        Ok((index, metadata, tensors))
    }

    /// `malformed`, naming the first missing part.
    fn check_complete(&self) -> Result<()> {
        let found = self.headers.len() as u64;
        let Some(missing) = (0..self.count).find(|number| !self.headers.contains_key(number))
        else {
            return Ok(());
        };
        let some = self.headers.values().next().map_or("", |(index, _)| self.files[*index].name());
        let part = match PartName::parse(some) {
            Some(name) => format!("{}-{:05}-of-{:05}.gguf", name.stem, missing + 1, self.count),
            None => format!("part {} of {some}", missing + 1),
        };
        let found = format!("{found} of {} parts", self.count);
        Err(Error::malformed_value(&quoted(&part), "missing file", found, "all of them"))
    }
}
