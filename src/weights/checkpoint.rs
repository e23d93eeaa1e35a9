//! An opened model: its metadata, its tensors, and reading their rows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::gguf::metadata::Metadata;
use super::safetensors::folder::Folder;
use super::source::{ByteSource, LocalFuture, read_part};
use super::tensor::{Numbers, RowNumber, SeparateScales, Tensor};
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
        let parts = self.tensors.values().flat_map(Tensor::parts);
        let is_cut = |(file, offset, bytes, _): &(usize, u64, u64, &String)| {
            let end = offset.checked_add(*bytes);
            end.is_none() || end > self.files.get(*file).map(|file| file.size_bytes())
        };
        let mut cut: Vec<_> = parts.filter(is_cut).collect();
        cut.sort_unstable();
        let Some(&(file, offset, bytes, name)) = cut.first() else { return Ok(()) };
        let file = &self.files[file];
        let others = match cut.len() - 1 {
            0 => String::new(),
            n => format!(" ({n} more tensors are cut off too)"),
        };
        Err(Error::malformed_value(
            file.name(),
            &format!("tensor {name}"),
            format!("the end of the file at byte {}{others}", file.size_bytes()),
            format!("bytes {offset} to {}", offset.saturating_add(bytes)),
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
            if let Some(integers) = &tensor.integers {
                return integers.read(&self.files, first_row, row_count).await;
            }
            if let Some(scales) = &tensor.separate_scales {
                return self.read_scaled_rows(&tensor, scales, first_row, row_count).await;
            }
            let row_bytes = tensor.format.row_bytes(tensor.columns())? as u64;
            let start = tensor.offset.saturating_add(row_bytes * first_row as u64);
            self.read_part(&tensor.name, tensor.file, start, row_bytes * row_count as u64).await
        })
    }

    /// Reads bytes of a tensor in its file; `malformed` if the file is truncated there.
    async fn read_part(
        &self,
        tensor: &str,
        file: usize,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>> {
        read_part(&self.files, tensor, file, offset, length).await
    }

    /// Reads rows with their separate scales.
    async fn read_scaled_rows(
        &self,
        tensor: &Tensor,
        layout: &SeparateScales,
        first_row: usize,
        row_count: usize,
    ) -> Result<Vec<u8>> {
        let start = tensor.offset.saturating_add(layout.own_bytes(first_row));
        let length = layout.own_bytes(row_count);
        let own = self.read_part(&tensor.name, tensor.file, start, length).await?;
        let rows = first_row..first_row + row_count;
        let mut heads = Vec::new();
        for number in &layout.row {
            heads.push(match number {
                RowNumber::One => 1f32.to_le_bytes().repeat(row_count),
                RowNumber::Of(numbers) => self.read_numbers(numbers, 1, rows.clone()).await?,
            });
        }
        let mut scales = Vec::new();
        for numbers in &layout.span {
            scales.push(self.read_numbers(numbers, layout.spans, rows.clone()).await?);
        }
        let spans = row_count * layout.spans;
        let mut rows = Vec::with_capacity(tensor.format.row_bytes(tensor.columns())? * row_count);
        for (span, own) in own.chunks_exact(layout.span_bytes).enumerate() {
            if span % layout.spans == 0 {
                let row = span / layout.spans;
                heads.iter().for_each(|head| rows.extend_from_slice(&head[4 * row..][..4]));
            }
            for scales in &scales {
                let width = scales.len() / spans;
                rows.extend_from_slice(&scales[span * width..][..width]);
            }
            let at = rows.len();
            rows.extend_from_slice(own);
            layout.order.arrange(&mut rows[at..]);
        }
        Ok(rows)
    }

    /// Reads the numbers of some rows of weights, `count` per row, in f32 if they are widened.
    async fn read_numbers(
        &self,
        numbers: &Numbers,
        count: usize,
        rows: Range<usize>,
    ) -> Result<Vec<u8>> {
        let per_row = numbers.width * if numbers.count == 1 { 1 } else { count };
        let place = |row: usize| match numbers.count {
            1 => 0,
            _ => (numbers.first_row + row) / numbers.shared_rows,
        };
        let (first, end) = (place(rows.start), place(rows.end.saturating_sub(1)) + 1);
        let start = numbers.offset.saturating_add(first as u64 * per_row as u64);
        let length = (end - first) as u64 * per_row as u64;
        let read = self.read_part(&numbers.name, numbers.file, start, length).await?;
        let mut stored = Vec::with_capacity(numbers.width * count * rows.len());
        for row in rows.clone() {
            let own = &read[(place(row) - first) * per_row..][..per_row];
            stored.extend_from_slice(&own.repeat(numbers.width * count / per_row));
        }
        let Some(format) = numbers.format.filter(|_| numbers.widened) else { return Ok(stored) };
        let mut values = vec![0.0; count * rows.len()];
        format.rules().dequantize_row(&stored, &mut values);
        Ok(values.into_iter().flat_map(f32::to_le_bytes).collect())
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
