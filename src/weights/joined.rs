//! Weights whose scales are tensors of their own, put together: everybody else sees one tensor in
//! one format.
//!
//! - FP8, as ModelOpt and compressed-tensors write it: `x.weight` in F8_E4M3 beside
//!   `x.weight_scale`, one number or one for each row.
//! - MLX: `x.weight`, packed into words, beside `x.scales` and `x.biases`, one number for each group.
//!   `config.json` says how many bits and weights in a group, in all modules or in some.
//!
//! Scales of activations and of the key/value cache are not among the tensors here ([`super::spare`]).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use ::safetensors::Dtype;
use serde_json::Value;

use crate::error::{Code, Error, Result};
use crate::formats::{Format, Mlx, MlxScales};
use crate::weights::folder::CONFIG;
use crate::weights::gguf::size_bytes;
use crate::weights::safetensors::Stored;
use crate::weights::source::ByteSource;
use crate::weights::{Checkpoint, Tensor, shortened};

/// How the rows of a tensor are put together, span by span. A span is what has scales of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// In the order in which a span begins with them: one number for each span, or one for all.
    pub(super) scales: Vec<Tensor>,
    /// Spans of a row.
    spans: usize,
    /// Bytes of the tensor itself in a span.
    span_bytes: usize,
    /// Whether the scales are widened to f32.
    widened: bool,
}

impl Joined {
    /// Bytes of the tensor itself in so many rows.
    pub(super) fn own_bytes(&self, rows: usize) -> u64 {
        rows as u64 * self.spans as u64 * self.span_bytes as u64
    }

    /// Rows of `tensor`, put together; as [`Checkpoint::read_rows`].
    pub(super) async fn read_rows(
        &self,
        checkpoint: &Checkpoint,
        tensor: &Tensor,
        first_row: usize,
        row_count: usize,
    ) -> Result<Vec<u8>> {
        let (first, count) = (first_row * self.spans, row_count * self.spans);
        let own = checkpoint
            .read_part(tensor, self.own_bytes(first_row), self.own_bytes(row_count))
            .await?;
        let mut scales = Vec::new();
        for scale in &self.scales {
            scales.push(self.read_scales(checkpoint, scale, first, count).await?);
        }
        let mut rows = Vec::with_capacity(own.len() + scales.iter().map(Vec::len).sum::<usize>());
        for (span, own) in own.chunks_exact(self.span_bytes).enumerate() {
            for scales in &scales {
                let width = scales.len() / count;
                rows.extend_from_slice(&scales[span * width..][..width]);
            }
            rows.extend_from_slice(own);
        }
        Ok(rows)
    }

    /// One scale for each of these spans.
    async fn read_scales(
        &self,
        checkpoint: &Checkpoint,
        scale: &Tensor,
        first: usize,
        count: usize,
    ) -> Result<Vec<u8>> {
        let width = scale.format.rules().block_bytes() as u64;
        let mut stored = match scale.weights() {
            1 => checkpoint.read_part(scale, 0, width).await?.repeat(count),
            _ => checkpoint.read_part(scale, first as u64 * width, count as u64 * width).await?,
        };
        if self.widened {
            let mut values = vec![0.0; count];
            scale.format.rules().dequantize_row(&stored, &mut values);
            stored = values.into_iter().flat_map(f32::to_le_bytes).collect();
        }
        Ok(stored)
    }
}

/// The weights that these tensors are or make.
pub(super) fn join(
    stored: BTreeMap<String, Stored>,
    files: &[Rc<dyn ByteSource>],
    config: &Value,
) -> Result<BTreeMap<String, Tensor>> {
    let mut pieces = Pieces { stored, files, mlx: config.get("quantization") };
    if is_symmetric(config) {
        // Zeros, which some versions of compressed-tensors write all the same.
        pieces.stored.retain(|name, _| !name.ends_with(".weight_zero_point"));
    }
    let is_quantized = |tensor: &&Stored| matches!(tensor.dtype, Dtype::F8_E4M3 | Dtype::U32);
    let quantized: Vec<String> =
        pieces.stored.values().filter(is_quantized).map(|tensor| tensor.name.clone()).collect();
    let mut tensors = BTreeMap::new();
    for name in quantized {
        if let Some(weight) = pieces.stored.remove(&name) {
            let is_fp8 = weight.dtype == Dtype::F8_E4M3;
            tensors.insert(name, if is_fp8 { pieces.fp8(weight)? } else { pieces.mlx(weight)? });
        }
    }
    for (name, tensor) in std::mem::take(&mut pieces.stored) {
        tensors.insert(name, pieces.alone(tensor)?);
    }
    Ok(tensors)
}

/// `unsupported-format` for an element type.
pub(super) fn unsupported(file: &str, tensor: &str, found: &str) -> Error {
    let expected = "expected F32, F16, BF16, F8_E4M3 or MLX's U32";
    Error::new(
        Code::UnsupportedFormat,
        format!("{file}: tensor {tensor}: element type {found}, {expected}"),
    )
}

/// Format and shape of a matrix that is stored as bytes, `[rows, bytes of a row]`, in blocks of the
/// format that the metadata names for it. The message lacks the tensor.
fn blocks(name: &str, shape: &[usize]) -> Result<(Format, Vec<usize>), String> {
    let format = Format::from_name(name);
    let format =
        format.ok_or_else(|| format!("__metadata__ says {}, no format", shortened(name)))?;
    let rules = format.rules();
    let columns = |bytes: usize| {
        let blocks = bytes.checked_sub(rules.row_header_bytes())? / rules.block_bytes();
        blocks.checked_mul(rules.block_weights())
    };
    let whole = |columns: &usize, bytes| format.row_bytes(*columns).is_ok_and(|row| row == bytes);
    match shape {
        &[rows, bytes] => columns(bytes)
            .filter(|columns| whole(columns, bytes))
            .map(|columns| vec![rows, columns]),
        _ => None,
    }
    .map(|shape| (format, shape))
    .ok_or_else(|| {
        format!("shape {shape:?}, expected [rows, bytes of a row] in whole blocks of {name}")
    })
}

/// Tensors that are still to be put together.
struct Pieces<'a> {
    stored: BTreeMap<String, Stored>,
    files: &'a [Rc<dyn ByteSource>],
    /// What `config.json` says of MLX's formats.
    mlx: Option<&'a Value>,
}

impl Pieces<'_> {
    /// An error that names a file and a tensor.
    fn error(&self, code: Code, file: usize, tensor: &str, message: impl Display) -> Error {
        Error::new(code, format!("{}: tensor {tensor}: {message}", self.files[file].name()))
    }

    /// A tensor that needs no other.
    fn alone(&self, stored: Stored) -> Result<Tensor> {
        let Some(format) = &stored.blocks else { return self.floats(stored) };
        let bad = |message| self.error(Code::Malformed, stored.file, &stored.name, message);
        let (format, shape) = blocks(format, &stored.shape).map_err(bad)?;
        self.tensor(stored, format, shape)
    }

    /// A tensor of floats.
    fn floats(&self, stored: Stored) -> Result<Tensor> {
        let dtype = stored.dtype.to_string();
        let format = Format::from_safetensors_dtype(&dtype);
        let file = self.files[stored.file].name();
        let format = format.ok_or_else(|| unsupported(file, &stored.name, &dtype))?;
        let shape = stored.shape.clone();
        self.tensor(stored, format, shape)
    }

    /// A tensor of a format and shape that may be other than stored.
    fn tensor(&self, stored: Stored, format: Format, shape: Vec<usize>) -> Result<Tensor> {
        let Stored { name, file, offset, .. } = stored;
        let size_bytes = size_bytes(format, &shape).map_err(|error| {
            let message = format!("shape {shape:?}: {}", error.message());
            self.error(Code::Malformed, file, &name, message)
        })?;
        Ok(Tensor { name, format, shape, file, offset, size_bytes, joined: None })
    }

    /// Takes out the scales of that name, which belong to `weight`.
    fn scales(&mut self, weight: &Stored, name: &str) -> Result<Tensor> {
        let Some(scales) = self.stored.remove(name) else {
            let message = format!("{name} is missing, expected it beside {}", weight.dtype);
            return Err(self.error(Code::MissingTensors, weight.file, &weight.name, message));
        };
        self.floats(scales)
    }

    /// An FP8 matrix with its scale.
    fn fp8(&mut self, stored: Stored) -> Result<Tensor> {
        let scale = self.scales(&stored, &format!("{}_scale", stored.name))?;
        let shape = stored.shape.clone();
        let mut weight = self.tensor(stored, Format::F8_E4M3, shape)?;
        let (found, rows) = (scale.weights(), weight.rows());
        if found != 1 && (found != rows as u64 || scale.shape[0] != rows) {
            let message = format!(
                "shape {:?}, expected one number or one for each of {rows} rows",
                scale.shape
            );
            return Err(self.error(Code::UnsupportedFormat, scale.file, &scale.name, message));
        }
        let span_bytes = weight.columns();
        weight.joined = Some(Joined { scales: vec![scale], spans: 1, span_bytes, widened: true });
        Ok(weight)
    }

    /// An MLX matrix with its scales and biases.
    fn mlx(&mut self, stored: Stored) -> Result<Tensor> {
        let Some((module, config)) = stored.name.strip_suffix(".weight").zip(self.mlx) else {
            return Err(unsupported(
                self.files[stored.file].name(),
                &stored.name,
                &stored.dtype.to_string(),
            ));
        };
        let (bits, group) = mlx_numbers(config, module)?;
        let (scales, biases) = (format!("{module}.scales"), format!("{module}.biases"));
        let (scales, biases) = (self.scales(&stored, &scales)?, self.scales(&stored, &biases)?);
        let words = stored.shape.last().copied().unwrap_or(1);
        let columns = words.saturating_mul(32 / bits);
        let with_last = |last: usize| {
            let mut shape = stored.shape.clone();
            shape.pop();
            shape.push(last);
            shape
        };
        let (shape, expected) = (with_last(columns), with_last(columns / group));
        let fit = |pair: &Tensor| pair.shape == expected && pair.format == scales.format;
        if !columns.is_multiple_of(group) || !fit(&scales) || !fit(&biases) {
            let pair = [&scales, &biases]
                .map(|pair| format!("{:?} in {}", pair.shape, pair.format.name()));
            let message = format!(
                "shape {:?}, scales {}, biases {}, expected {bits} bits in groups of {group}",
                stored.shape, pair[0], pair[1]
            );
            return Err(self.error(Code::Malformed, stored.file, &stored.name, message));
        }
        let kind = match scales.format {
            Format::F16 => MlxScales::F16,
            Format::BF16 => MlxScales::BF16,
            _ => MlxScales::F32,
        };
        let format = Mlx::new(bits, group, kind).map(Format::MLX);
        let format =
            format.ok_or_else(|| Error::internal(format!("{bits} bits in groups of {group}")))?;
        let (spans, span_bytes) = (columns / group, group * bits / 8);
        let joined = Joined { scales: vec![scales, biases], spans, span_bytes, widened: false };
        Ok(Tensor { joined: Some(joined), ..self.tensor(stored, format, shape)? })
    }
}

/// Whether all weights that compressed-tensors rounded were rounded around zero, as floats are.
fn is_symmetric(config: &Value) -> bool {
    let groups = config.pointer("/quantization_config/config_groups").and_then(Value::as_object);
    groups.is_some_and(|groups| groups.values().all(|group| group["weights"]["symmetric"] != false))
}

/// Bits and weights of a group, checked, of a module, for which there may be others than for all.
fn mlx_numbers(config: &Value, module: &str) -> Result<(usize, usize)> {
    let own = config.get(module).filter(|own| own.is_object());
    let field = own.map_or("quantization".to_owned(), |_| format!("quantization: {module}"));
    let config = own.unwrap_or(config);
    let number = |key: &str| {
        let found = config.get(key);
        let number = found.and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| {
            let found = found.unwrap_or(&Value::Null);
            Error::malformed(
                CONFIG,
                &field,
                format!("{key}: found {found}, expected a whole number"),
            )
        })
    };
    let (bits, group) = (number("bits")?, number("group_size")?);
    let mode = config.get("mode").map_or(Some("affine"), Value::as_str);
    if mode != Some("affine") || Mlx::new(bits, group, MlxScales::F16).is_none() {
        let found = format!("{} of {bits} bits in groups of {group}", mode.unwrap_or("something"));
        let expected = "expected affine of 4 or 8 bits in groups of 32, 64 or 128";
        let message = format!("{CONFIG}: {field}: found {found}, {expected}");
        return Err(Error::new(Code::UnsupportedFormat, message));
    }
    Ok((bits, group))
}
