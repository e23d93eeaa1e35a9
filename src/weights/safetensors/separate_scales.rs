//! Weights whose scales are tensors of their own. They are joined into one tensor in one format,
//! so that the rest of the crate does not see the difference.
//!
//! - FP8, as written by ModelOpt and compressed-tensors: `x.weight` in F8_E4M3 beside
//!   `x.weight_scale`, one number or one for each row.
//! - MLX: `x.weight`, packed into 32-bit words, beside `x.scales` and `x.biases`, one number for
//!   each group. `config.json` states bits and group size, for all modules or for individual ones.
//!
//! Scales of activations and of the KV cache are [unused](crate::weights::unused_tensors).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use ::safetensors::Dtype;
use serde_json::Value;

use super::files::CONFIG;
use super::header::{StoredTensor, unsupported_dtype};
use crate::error::{Code, Error, Result, excerpt, mismatch, quoted};
use crate::formats::{Format, Mlx, MlxScales};
use crate::weights::source::ByteSource;
use crate::weights::tensor::{SeparateScales, Tensor, size_bytes};

/// Joins stored tensors into weights.
pub(super) fn join(
    stored: BTreeMap<String, StoredTensor>,
    files: &[Rc<dyn ByteSource>],
    config: &Value,
) -> Result<BTreeMap<String, Tensor>> {
    let mut joiner = Joiner { stored, files, mlx: config.get("quantization") };
    if is_symmetric(config) {
        // Zero points are all zero, but some versions of compressed-tensors write them.
        joiner.stored.retain(|name, _| !name.ends_with(".weight_zero_point"));
    }
    let is_quantized = |tensor: &&StoredTensor| matches!(tensor.dtype, Dtype::F8_E4M3 | Dtype::U32);
    let quantized: Vec<String> =
        joiner.stored.values().filter(is_quantized).map(|tensor| tensor.name.clone()).collect();
    let mut tensors = BTreeMap::new();
    for name in quantized {
        if let Some(weight) = joiner.stored.remove(&name) {
            let is_fp8 = weight.dtype == Dtype::F8_E4M3;
            tensors.insert(name, if is_fp8 { joiner.fp8(weight)? } else { joiner.mlx(weight)? });
        }
    }
    for (name, tensor) in std::mem::take(&mut joiner.stored) {
        tensors.insert(name, joiner.single(tensor)?);
    }
    Ok(tensors)
}

/// Format and shape of a matrix stored as U8 `[rows, bytes per row]`, in blocks of the format that
/// the metadata names. The error message does not name the tensor.
fn block_format_and_shape(name: &str, shape: &[usize]) -> Result<(Format, Vec<usize>), String> {
    let format = Format::from_name(name);
    let format = format.ok_or_else(|| mismatch(quoted(name), "a weight format in __metadata__"))?;
    let rules = format.rules();
    let columns = |row_bytes: usize| {
        let blocks = row_bytes.checked_sub(rules.row_header_bytes())? / rules.block_bytes();
        let columns = blocks.checked_mul(rules.block_weights())?;
        format.row_bytes(columns).is_ok_and(|bytes| bytes == row_bytes).then_some(columns)
    };
    if let &[rows, row_bytes] = shape
        && let Some(columns) = columns(row_bytes)
    {
        return Ok((format, vec![rows, columns]));
    }
    let expected = format!("[rows, bytes per row] in whole blocks of {name}");
    Err(mismatch(format!("shape {shape:?}"), expected))
}

/// Tensors that remain to be joined.
struct Joiner<'a> {
    stored: BTreeMap<String, StoredTensor>,
    files: &'a [Rc<dyn ByteSource>],
    /// `quantization` of `config.json`: formats of MLX.
    mlx: Option<&'a Value>,
}

impl Joiner<'_> {
    /// An error that names file and tensor.
    fn error(&self, code: Code, file: usize, tensor: &str, message: impl Display) -> Error {
        Error::new(code, format!("{}: tensor {tensor}: {message}", self.files[file].name()))
    }

    /// A tensor without scales of its own.
    fn single(&self, stored: StoredTensor) -> Result<Tensor> {
        let Some(format) = &stored.format_name else { return self.floats(stored) };
        let bad = |message| self.error(Code::Malformed, stored.file, &stored.name, message);
        let (format, shape) = block_format_and_shape(format, &stored.shape).map_err(bad)?;
        self.tensor(stored, format, shape)
    }

    /// A tensor of floats.
    fn floats(&self, stored: StoredTensor) -> Result<Tensor> {
        let dtype = stored.dtype.to_string();
        let format = Format::from_safetensors_dtype(&dtype);
        let file = self.files[stored.file].name();
        let format = format.ok_or_else(|| unsupported_dtype(file, &stored.name, &dtype))?;
        let shape = stored.shape.clone();
        self.tensor(stored, format, shape)
    }

    /// A tensor with a format and shape that may differ from the stored ones.
    fn tensor(&self, stored: StoredTensor, format: Format, shape: Vec<usize>) -> Result<Tensor> {
        let StoredTensor { name, file, offset, .. } = stored;
        let size_bytes = size_bytes(format, &shape).map_err(|error| {
            let message = format!("shape {shape:?}: {}", error.message());
            self.error(Code::Malformed, file, &name, message)
        })?;
        Ok(Tensor { name, format, shape, file, offset, size_bytes, separate_scales: None })
    }

    /// Removes and returns the scales of the given name, which belong to `weight`.
    fn scales(&mut self, weight: &StoredTensor, name: &str) -> Result<Tensor> {
        let Some(scales) = self.stored.remove(name) else {
            let message = mismatch("no scales", format!("{name} beside {}", weight.dtype));
            return Err(self.error(Code::MissingTensors, weight.file, &weight.name, message));
        };
        self.floats(scales)
    }

    /// An FP8 matrix with its scale.
    fn fp8(&mut self, stored: StoredTensor) -> Result<Tensor> {
        let scale = self.scales(&stored, &format!("{}_scale", stored.name))?;
        let shape = stored.shape.clone();
        let mut weight = self.tensor(stored, Format::F8_E4M3, shape)?;
        let (found, rows) = (scale.weights(), weight.rows());
        if found != 1 && (found != rows as u64 || scale.shape[0] != rows) {
            let expected = format!("one number or one for each of {rows} rows");
            let message = mismatch(format!("shape {:?}", scale.shape), expected);
            return Err(self.error(Code::UnsupportedFormat, scale.file, &scale.name, message));
        }
        let span_bytes = weight.columns();
        let tensors = vec![scale];
        weight.separate_scales =
            Some(SeparateScales { tensors, spans: 1, span_bytes, widened: true });
        Ok(weight)
    }

    /// An MLX matrix with its scales and biases.
    fn mlx(&mut self, stored: StoredTensor) -> Result<Tensor> {
        let Some((module, config)) = stored.name.strip_suffix(".weight").zip(self.mlx) else {
            return Err(unsupported_dtype(
                self.files[stored.file].name(),
                &stored.name,
                &stored.dtype.to_string(),
            ));
        };
        let (bits, group) = mlx_parameters(config, module)?;
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
        let fits = |found: &Tensor| found.shape == expected && found.format == scales.format;
        if !columns.is_multiple_of(group) || !fits(&scales) || !fits(&biases) {
            let [scales, biases] = [&scales, &biases]
                .map(|found| format!("{:?} in {}", found.shape, found.format.name()));
            let shape = &stored.shape;
            let found = format!("shape {shape:?}, scales {scales} and biases {biases}");
            let message = mismatch(found, format!("{bits} bits in groups of {group}"));
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
        let tensors = vec![scales, biases];
        let scales = SeparateScales { tensors, spans, span_bytes, widened: false };
        Ok(Tensor { separate_scales: Some(scales), ..self.tensor(stored, format, shape)? })
    }
}

/// True if all weights quantized by compressed-tensors are symmetric, that is, without zero points.
fn is_symmetric(config: &Value) -> bool {
    let groups = config.pointer("/quantization_config/config_groups").and_then(Value::as_object);
    groups.is_some_and(|groups| groups.values().all(|group| group["weights"]["symmetric"] != false))
}

/// Bits and group size of a module, which may differ from those of the model.
fn mlx_parameters(config: &Value, module: &str) -> Result<(usize, usize)> {
    let own = config.get(module).filter(|own| own.is_object());
    let field = own.map_or("quantization".to_owned(), |_| format!("quantization: {module}"));
    let config = own.unwrap_or(config);
    let number = |key: &str| {
        let found = config.get(key);
        let number = found.and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| {
            let found = found.map_or("nothing".to_owned(), excerpt);
            let field = format!("{field}: {key}");
            Error::malformed_value(CONFIG, &field, found, "a whole number")
        })
    };
    let (bits, group) = (number("bits")?, number("group_size")?);
    let mode = config.get("mode").map_or(Some("affine"), Value::as_str);
    if mode != Some("affine") || Mlx::new(bits, group, MlxScales::F16).is_none() {
        let found = format!("{} of {bits} bits in groups of {group}", mode.unwrap_or("something"));
        let expected = "affine of 4 or 8 bits in groups of 32, 64 or 128";
        return Err(Error::unsupported_value(CONFIG, &field, found, expected));
    }
    Ok((bits, group))
}
