//! Schemes of quantized weights. In safetensors files a quantized matrix is several tensors: quants
//! and scales, perhaps biases or zero points. They are joined into one tensor in one format, so
//! that the rest of the crate does not see the difference.
//!
//! A scheme is one file and its rows in [`SCHEMES`]. Tensors say by their names and element types
//! which scheme they are in, so that a checkpoint may mix several; `config.json` is read where that
//! is not enough.
//!
//! Scales of activations and of the KV cache are [unused](crate::weights::unused_tensors).

mod block_floats;
mod compressed_integers;
mod fp8;
mod integers;
mod mlx;
mod qweight;
mod refused;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use ::safetensors::Dtype;
use serde_json::Value;

use super::header::{StoredTensor, unsupported_dtype};
use crate::error::{Code, Error, Result, mismatch, quoted};
use crate::formats::Format;
use crate::weights::source::ByteSource;
use crate::weights::tensor::{Numbers, Tensor, size_bytes};

/// Scheme of quantized weights.
struct Scheme {
    /// End of the name of the tensor with the quants, after the name of the module.
    suffix: &'static str,
    /// Element type of that tensor.
    dtype: Dtype,
    /// End of the name of a tensor that the module has in this scheme; empty if that is not needed
    /// to tell it from other schemes.
    beside: &'static str,
    /// Joins the tensor with the quants and others of its module, which it takes from the joiner.
    /// The result is named as in checkpoints without quantization (`module.weight`).
    join: fn(&mut Joiner<'_>, StoredTensor) -> Result<Tensor>,
}

/// Schemes; a tensor is in the first that it fits.
const SCHEMES: &[Scheme] = &[
    Scheme {
        suffix: ".weight_packed",
        dtype: Dtype::U8,
        beside: ".weight_global_scale",
        join: block_floats::divided_nvfp4,
    },
    Scheme { suffix: ".weight_packed", dtype: Dtype::U8, beside: "", join: block_floats::mxfp4 },
    Scheme {
        suffix: ".weight",
        dtype: Dtype::U8,
        beside: ".weight_scale_2",
        join: block_floats::multiplied_nvfp4,
    },
    Scheme {
        suffix: ".weight",
        dtype: Dtype::U8,
        beside: ".weight_scale",
        join: block_floats::mxfp4,
    },
    Scheme { suffix: "", dtype: Dtype::F8_E4M3, beside: "", join: fp8::join },
    Scheme { suffix: ".weight", dtype: Dtype::U32, beside: "", join: mlx::join },
    Scheme {
        suffix: ".weight_packed",
        dtype: Dtype::I32,
        beside: "",
        join: compressed_integers::join_packed,
    },
    Scheme {
        suffix: ".weight",
        dtype: Dtype::I8,
        beside: ".weight_scale",
        join: compressed_integers::join_bytes,
    },
    Scheme { suffix: ".qweight", dtype: Dtype::I32, beside: "", join: qweight::join },
];

/// Joins stored tensors into weights.
pub(super) fn join(
    stored: BTreeMap<String, StoredTensor>,
    files: &[Rc<dyn ByteSource>],
    config: &Value,
) -> Result<BTreeMap<String, Tensor>> {
    refused::check(config)?;
    join_all(stored, files, config).map_err(|error| refused::explain(config, error))
}

fn join_all(
    stored: BTreeMap<String, StoredTensor>,
    files: &[Rc<dyn ByteSource>],
    config: &Value,
) -> Result<BTreeMap<String, Tensor>> {
    let mut joiner = Joiner { stored, files, config };
    if is_symmetric(config) {
        // Zero points are all zero, but some versions of compressed-tensors write them.
        joiner.stored.retain(|name, _| !name.ends_with(".weight_zero_point"));
    }
    let scheme = |tensor: &StoredTensor| Some((tensor.name.clone(), joiner.scheme(tensor)?));
    let quantized: Vec<(String, &Scheme)> = joiner.stored.values().filter_map(scheme).collect();
    let mut tensors = BTreeMap::new();
    for (name, scheme) in quantized {
        if let Some(stored) = joiner.stored.remove(&name) {
            let tensor = (scheme.join)(&mut joiner, stored)?;
            joiner.insert(&mut tensors, tensor)?;
        }
    }
    for tensor in std::mem::take(&mut joiner.stored).into_values() {
        let tensor = joiner.single(tensor)?;
        joiner.insert(&mut tensors, tensor)?;
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
    /// `config.json`.
    config: &'a Value,
}

impl Joiner<'_> {
    /// Scheme of a tensor of quants; `None` for other tensors.
    fn scheme(&self, tensor: &StoredTensor) -> Option<&'static Scheme> {
        // Blocks of a format that the file itself names need nothing beside them.
        if tensor.format_name.is_some() {
            return None;
        }
        SCHEMES.iter().find(|scheme| {
            let module = tensor.name.strip_suffix(scheme.suffix);
            let has =
                |module: &str| self.stored.contains_key(&format!("{module}{}", scheme.beside));
            tensor.dtype == scheme.dtype
                && module.is_some_and(|module| scheme.beside.is_empty() || has(module))
        })
    }

    /// Adds a tensor; `malformed` if there is one of its name.
    fn insert(&self, tensors: &mut BTreeMap<String, Tensor>, tensor: Tensor) -> Result<()> {
        let (name, file) = (tensor.name.clone(), tensor.file);
        match tensors.insert(name.clone(), tensor) {
            None => Ok(()),
            Some(_) => {
                let message = mismatch("quantized and other weights", "one of them");
                Err(self.error(Code::Malformed, file, &name, message))
            }
        }
    }

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
        let (separate_scales, integers) = (None, None);
        Ok(Tensor { name, format, shape, file, offset, size_bytes, separate_scales, integers })
    }

    /// Removes and returns the tensor of the given name, which belongs to `weight`.
    fn beside(&mut self, weight: &StoredTensor, name: &str) -> Result<StoredTensor> {
        self.stored.remove(name).ok_or_else(|| {
            let message = mismatch("no scales", format!("{name} beside {}", weight.dtype));
            self.error(Code::MissingTensors, weight.file, &weight.name, message)
        })
    }

    /// Removes and returns floats of the given name, which belong to `weight`, and their shape.
    /// They are converted to f32.
    fn scales(&mut self, weight: &StoredTensor, name: &str) -> Result<(Numbers, Vec<usize>)> {
        let stored = self.beside(weight, name)?;
        let Tensor { name, format, shape, file, offset, .. } = self.floats(stored)?;
        let count = shape.iter().product();
        Ok((Numbers::new(name, file, offset, count, Some(format)), shape))
    }
}

/// True if all weights quantized by compressed-tensors are symmetric, that is, without zero points.
fn is_symmetric(config: &Value) -> bool {
    let groups = config.pointer("/quantization_config/config_groups").and_then(Value::as_object);
    groups.is_some_and(|groups| groups.values().all(|group| group["weights"]["symmetric"] != false))
}
