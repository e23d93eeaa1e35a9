//! Model files: bytes in, named tensors out.
//!
//! Reading order: [`source`] (where bytes come from), [`gguf`] and [`safetensors`] (the two
//! containers), `parts` (a GGUF file in several), [`metadata`] and [`folder`] (what they say besides
//! tensors), `joined` (weights whose scales are tensors of their own), and here [`Checkpoint`],
//! which is what the rest of the crate sees. Everything in a file is hostile:
//! counts and lengths are checked against the file's size before anything is allocated by them.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::formats::Format;

#[cfg(not(target_arch = "wasm32"))]
pub mod disk;
pub mod folder;
mod fused;
pub mod gguf;
mod joined;
pub(crate) mod json;
pub mod metadata;
mod parts;
pub mod quantize;
pub mod safetensors;
mod sniff;
pub mod source;
mod spare;

pub use folder::Folder;
pub use joined::Joined;
pub use metadata::Metadata;
use source::{ByteSource, LocalFuture};

/// Most tensors a file may declare.
pub(crate) const MAX_TENSORS: u64 = 1_000_000;

/// A named tensor: what it is and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The name the file gives it.
    pub name: String,
    /// How its weights are stored.
    pub format: Format,
    /// Row-major, outermost first: a matrix is `(out, in)`. Empty for a single number.
    pub shape: Vec<usize>,
    /// Index into [`Checkpoint::files`].
    pub file: usize,
    /// Absolute offset in that file.
    pub offset: u64,
    /// Stored bytes, as [`Checkpoint::read_rows`] gives them.
    pub size_bytes: u64,
    /// The tensors that belong to it, if its rows are put together.
    pub joined: Option<Joined>,
}

impl Tensor {
    /// Rows: the product of all axes but the last.
    pub fn rows(&self) -> usize {
        self.shape.split_last().map_or(1, |(_, outer)| outer.iter().product())
    }

    /// Weights of a row: the last axis.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Its bytes in its file, which for a joined tensor are not all of its stored bytes.
    fn own_bytes(&self) -> u64 {
        self.joined.as_ref().map_or(self.size_bytes, |joined| joined.own_bytes(self.rows()))
    }

    /// Weights altogether.
    pub fn weights(&self) -> u64 {
        self.rows() as u64 * self.columns() as u64
    }
}

/// What the model says besides its tensors, by the kind of file it came in.
#[derive(Debug)]
pub enum Container {
    /// A GGUF file, or several that hold one model: its keys and values.
    Gguf(Metadata),
    /// A folder of `config.json`, `*.safetensors` and the tokenizer's files.
    Safetensors(Box<Folder>),
}

/// An opened model: headers read, weights still in their files.
pub struct Checkpoint {
    /// For people: the GGUF file's name, or the name in a folder's configuration.
    pub name: String,
    /// What the model says besides its tensors.
    pub container: Container,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Every file given to [`Checkpoint::open`].
    pub files: Vec<Rc<dyn ByteSource>>,
}

impl Checkpoint {
    /// Reads the headers of a GGUF file or its parts, or of the files of a safetensors folder. Weights are not
    /// touched: this succeeds on a file that is cut off after its header, so that it can be
    /// inspected (see [`Checkpoint::check_complete`]). Errors: `malformed`, `unsupported-format`,
    /// `invalid-request` (no or the wrong files), and whatever the sources report.
    pub async fn open(files: Vec<Rc<dyn ByteSource>>) -> Result<Checkpoint> {
        let is_folder = |file: &Rc<dyn ByteSource>| {
            file.name() == folder::CONFIG || file.name().ends_with(folder::SAFETENSORS)
        };
        let is_gguf =
            |file: &Rc<dyn ByteSource>| file.name().to_ascii_lowercase().ends_with(".gguf");
        if files.len() > 1 && files.iter().any(is_folder) {
            return folder::open(files).await;
        }
        let candidates: Vec<usize> = if files.len() == 1 {
            vec![0]
        } else {
            (0..files.len()).filter(|&i| is_gguf(&files[i])).collect()
        };
        if candidates.is_empty() {
            let names: Vec<&str> = files.iter().take(8).map(|file| file.name()).collect();
            return Err(Error::invalid_request(
                "model",
                format!(
                    "{} files ({}), expected one .gguf file or config.json with *.safetensors and tokenizer.json",
                    files.len(),
                    names.join(", ")
                ),
            ));
        }
        parts::open(files, candidates).await
    }

    /// Checks that every tensor lies inside its file; `malformed` names the first that does not.
    pub fn check_complete(&self) -> Result<()> {
        let is_cut = |tensor: &&Tensor| {
            let end = tensor.offset.checked_add(tensor.own_bytes());
            let present = self.files.get(tensor.file).map(|file| file.size_bytes());
            end.is_none() || end > present
        };
        let scales = self.tensors.values().filter_map(|tensor| tensor.joined.as_ref());
        let scales = scales.flat_map(|joined| &joined.scales);
        let mut cut: Vec<&Tensor> = self.tensors.values().chain(scales).filter(is_cut).collect();
        cut.sort_by_key(|tensor| (tensor.file, tensor.offset));
        let Some(first) = cut.first() else { return Ok(()) };
        let file = &self.files[first.file];
        let others = match cut.len() - 1 {
            0 => String::new(),
            n => format!(" ({n} more tensors are cut off too)"),
        };
        Err(Error::malformed(
            file.name(),
            &format!("tensor {}", first.name),
            format!(
                "needs bytes {} to {}, the file has {}{others}",
                first.offset,
                first.offset.saturating_add(first.own_bytes()),
                file.size_bytes()
            ),
        ))
    }

    /// The stored bytes of `row_count` rows from `first_row`, as they are in the file;
    /// `malformed` when the file is cut off there, `internal` for rows the tensor does not have.
    pub fn read_rows<'a>(
        &'a self,
        tensor: &Tensor,
        first_row: usize,
        row_count: usize,
    ) -> LocalFuture<'a, Result<Vec<u8>>> {
        let tensor = tensor.clone();
        Box::pin(async move {
            let last = first_row.checked_add(row_count);
            if last.is_none_or(|last| last > tensor.rows()) || tensor.file >= self.files.len() {
                return Err(Error::internal(format!(
                    "tensor {}: rows {first_row} + {row_count} of {} in file {}",
                    tensor.name,
                    tensor.rows(),
                    tensor.file
                )));
            }
            if let Some(joined) = &tensor.joined {
                return joined.read_rows(self, &tensor, first_row, row_count).await;
            }
            let row_bytes = tensor.format.row_bytes(tensor.columns())? as u64;
            self.read_part(&tensor, row_bytes * first_row as u64, row_bytes * row_count as u64)
                .await
        })
    }

    /// Bytes of a tensor in its file, from the tensor's start; `malformed` when it is cut off there.
    async fn read_part(&self, tensor: &Tensor, start: u64, length: u64) -> Result<Vec<u8>> {
        let file = &self.files[tensor.file];
        let offset = tensor.offset.saturating_add(start);
        let end = offset.saturating_add(length);
        match usize::try_from(length) {
            Ok(length) if end <= file.size_bytes() => file.read(offset, length).await,
            _ => Err(Error::malformed(
                file.name(),
                &format!("tensor {}", tensor.name),
                format!("needs bytes {offset} to {end}, the file has {}", file.size_bytes()),
            )),
        }
    }

    /// [`Checkpoint::read_rows`]; `malformed` when there are scales or weights that are not numbers.
    pub async fn read_finite_rows(
        &self,
        tensor: &Tensor,
        first_row: usize,
        count: usize,
    ) -> Result<Vec<u8>> {
        let stored = self.read_rows(tensor, first_row, count).await?;
        if let Some(row) = tensor.format.first_non_finite_row(tensor.columns(), &stored)? {
            let row = first_row + row;
            let found = format!(
                "row {row} has a scale or weight that is NaN or infinite, expected finite numbers"
            );
            return Err(Error::malformed(&self.name, &format!("tensor {}", tensor.name), found));
        }
        Ok(stored)
    }

    /// Whether all weights are in f32.
    pub fn is_in_f32(&self) -> bool {
        self.tensors.values().all(|tensor| tensor.format == Format::F32)
    }

    /// Weights of all tensors together.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().fold(0, |sum, tensor| tensor.weights().saturating_add(sum))
    }
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Checkpoint({}, {} tensors in {} files)",
            self.name,
            self.tensors.len(),
            self.files.len()
        )
    }
}

/// One tensor's claim on its file, before it is believed.
pub(crate) struct Claim<'a> {
    pub(crate) name: &'a str,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// `malformed` when two claims on the same bytes exist.
pub(crate) fn check_overlaps(file: &str, mut claims: Vec<Claim<'_>>) -> Result<()> {
    claims.sort_by_key(|claim| (claim.start, claim.end));
    for pair in claims.windows(2) {
        if pair[1].start < pair[0].end {
            return Err(Error::malformed(
                file,
                &format!("tensor {}", pair[1].name),
                format!(
                    "starts at byte {}, inside tensor {} which ends at byte {}",
                    pair[1].start, pair[0].name, pair[0].end
                ),
            ));
        }
    }
    Ok(())
}

/// A name from a file, cut to what a message can bear.
pub(crate) fn shortened(name: &str) -> String {
    const MAX_CHARS: usize = 120;
    match name.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => format!("{:?}…", &name[..at]),
        None => format!("{name:?}"),
    }
}
