//! An opened model: its metadata, its tensors, and reading their rows.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::gguf::metadata::Metadata;
use super::safetensors::folder::Folder;
use super::source::{ByteSource, LocalFuture};
use super::tensor::{SeparateScales, Tensor};
use crate::error::{Error, Result};
use crate::formats::Format;

/// Metadata of a model, by the kind of its files.
#[derive(Debug)]
pub enum Container {
    /// Keys and values of a GGUF file, or of several that together contain one model.
    Gguf(Metadata),
    /// A folder with `config.json`, `*.safetensors` and tokenizer files.
    Safetensors(Box<Folder>),
}

/// An opened model: headers are read, weights are still in their files.
pub struct Checkpoint {
    /// Display name: the GGUF file's name, or the name in a folder's configuration.
    pub name: String,
    /// Metadata.
    pub container: Container,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Files given to [`Checkpoint::open`].
    pub files: Vec<Rc<dyn ByteSource>>,
}

impl Checkpoint {
    /// Checks that every tensor lies inside its file; `malformed` names the first that does not.
    pub fn check_complete(&self) -> Result<()> {
        let is_cut = |tensor: &&Tensor| {
            let end = tensor.offset.checked_add(tensor.own_bytes());
            let present = self.files.get(tensor.file).map(|file| file.size_bytes());
            end.is_none() || end > present
        };
        let scales = self.tensors.values().filter_map(|tensor| tensor.separate_scales.as_ref());
        let scales = scales.flat_map(|scales| &scales.tensors);
        let mut cut: Vec<&Tensor> = self.tensors.values().chain(scales).filter(is_cut).collect();
        cut.sort_by_key(|tensor| (tensor.file, tensor.offset));
        let Some(first) = cut.first() else { return Ok(()) };
        let file = &self.files[first.file];
        let others = match cut.len() - 1 {
            0 => String::new(),
            n => format!(" ({n} more tensors are cut off too)"),
        };
        let end = first.offset.saturating_add(first.own_bytes());
        Err(Error::malformed_value(
            file.name(),
            &format!("tensor {}", first.name),
            format!("the end of the file at byte {}{others}", file.size_bytes()),
            format!("bytes {} to {end}", first.offset),
        ))
    }

    /// Reads stored bytes of `row_count` rows from `first_row` on, with separate scales
    /// interleaved. Errors: `malformed` if the file is truncated there, `internal` for rows that
    /// the tensor does not have, and errors of the source.
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
            if let Some(scales) = &tensor.separate_scales {
                return self.read_scaled_rows(&tensor, scales, first_row, row_count).await;
            }
            let row_bytes = tensor.format.row_bytes(tensor.columns())? as u64;
            self.read_part(&tensor, row_bytes * first_row as u64, row_bytes * row_count as u64)
                .await
        })
    }

    /// Reads bytes of a tensor in its file, `start` being relative to the tensor; `malformed` if
    /// the file is truncated there.
    async fn read_part(&self, tensor: &Tensor, start: u64, length: u64) -> Result<Vec<u8>> {
        let file = &self.files[tensor.file];
        let offset = tensor.offset.saturating_add(start);
        let end = offset.saturating_add(length);
        match usize::try_from(length) {
            Ok(length) if end <= file.size_bytes() => file.read(offset, length).await,
            _ => Err(Error::malformed_value(
                file.name(),
                &format!("tensor {}", tensor.name),
                format!("the end of the file at byte {}", file.size_bytes()),
                format!("bytes {offset} to {end}"),
            )),
        }
    }

    /// Reads rows with their separate scales. In the result, one value from each tensor of scales
    /// precedes each span.
    async fn read_scaled_rows(
        &self,
        tensor: &Tensor,
        layout: &SeparateScales,
        first_row: usize,
        row_count: usize,
    ) -> Result<Vec<u8>> {
        let (first, count) = (first_row * layout.spans, row_count * layout.spans);
        let (start, length) = (layout.own_bytes(first_row), layout.own_bytes(row_count));
        let own = self.read_part(tensor, start, length).await?;
        let mut scales = Vec::new();
        for scale in &layout.tensors {
            scales.push(self.read_scales(scale, first, count, layout.widened).await?);
        }
        let mut rows = Vec::with_capacity(own.len() + scales.iter().map(Vec::len).sum::<usize>());
        for (span, own) in own.chunks_exact(layout.span_bytes).enumerate() {
            for scales in &scales {
                let width = scales.len() / count;
                rows.extend_from_slice(&scales[span * width..][..width]);
            }
            rows.extend_from_slice(own);
        }
        Ok(rows)
    }

    /// Reads one scale for each of `count` spans from `first` on.
    async fn read_scales(
        &self,
        scale: &Tensor,
        first: usize,
        count: usize,
        widened: bool,
    ) -> Result<Vec<u8>> {
        let width = scale.format.rules().block_bytes() as u64;
        let mut stored = match scale.weights() {
            1 => self.read_part(scale, 0, width).await?.repeat(count),
            _ => self.read_part(scale, first as u64 * width, count as u64 * width).await?,
        };
        if widened {
            let mut values = vec![0.0; count];
            scale.format.rules().dequantize_row(&stored, &mut values);
            stored = values.into_iter().flat_map(f32::to_le_bytes).collect();
        }
        Ok(stored)
    }

    /// Reads rows like [`Checkpoint::read_rows`]; `malformed` if a scale or weight is not finite.
    pub async fn read_finite_rows(
        &self,
        tensor: &Tensor,
        first_row: usize,
        count: usize,
    ) -> Result<Vec<u8>> {
        let stored = self.read_rows(tensor, first_row, count).await?;
        if let Some(row) = tensor.format.first_non_finite_row(tensor.columns(), &stored)? {
            let row = first_row + row;
            let found = format!("a NaN or infinite scale or weight in row {row}");
            let field = format!("tensor {}", tensor.name);
            return Err(Error::malformed_value(&self.name, &field, found, "finite numbers"));
        }
        Ok(stored)
    }

    /// True if all weights are in f32.
    pub fn is_in_f32(&self) -> bool {
        self.tensors.values().all(|tensor| tensor.format == Format::F32)
    }

    /// Total number of weights.
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
