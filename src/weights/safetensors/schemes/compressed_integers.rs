//! Integers of compressed-tensors: `x.weight_packed`, in 32-bit words, or `x.weight`, in bytes,
//! beside `x.weight_scale` and `x.weight_zero_point`, for each group of columns, each row or the
//! whole matrix. Source: `compressors/pack_quantized` and `naive_quantized` of compressed-tensors.

use ::safetensors::Dtype;
use serde_json::Value;

use super::Joiner;
use super::integers::{Decoding, matrix_shape, packed};
use crate::error::{Code, Result, mismatch};
use crate::weights::integers::Zeros;
use crate::weights::safetensors::header::StoredTensor;
use crate::weights::tensor::Tensor;

/// Settings of quantized weights in `config_groups`.
struct Settings {
    bits: usize,
    /// Columns per group; `None` if a row has one scale.
    group: Option<usize>,
    is_symmetric: bool,
    /// True if `targets` names the module rather than a class of modules.
    is_targeted: bool,
}

impl Settings {
    /// Columns of a matrix with that many words and scales per row; `None` if there are none.
    fn columns(&self, words: usize, scales: usize) -> Option<usize> {
        let columns = match self.group {
            Some(group) => group.checked_mul(scales)?,
            None => words.checked_mul(32)?.checked_div(self.bits)?,
        };
        let fits = columns.checked_mul(self.bits)?.div_ceil(32) == words;
        (fits && (self.group.is_some() || scales == 1)).then_some(columns)
    }
}

/// True if the name of a module contains the parts of a target between wildcards.
fn is_target(target: &Value, module: &str) -> bool {
    let target = target.as_str().unwrap_or("Linear").trim_start_matches("re:");
    let target = target.trim_matches(['^', '$']).replace('\\', "");
    target.split(".*").all(|part| module.contains(part))
}

/// Settings of integers of `config.json`, as far as they may apply to a module.
fn settings<'a>(config: &'a Value, module: &'a str) -> impl Iterator<Item = Settings> + 'a {
    let groups = config.pointer("/quantization_config/config_groups").and_then(Value::as_object);
    let weights =
        groups.into_iter().flat_map(|groups| groups.values()).map(|it| (it, &it["weights"]));
    weights.filter(|(_, weights)| weights["type"] != "float").filter_map(move |(group, weights)| {
        let number = |key: &str| weights[key].as_u64().and_then(|it| usize::try_from(it).ok());
        Some(Settings {
            bits: number("num_bits")?,
            group: number("group_size").filter(|group| *group > 0),
            is_symmetric: weights["symmetric"] != false,
            is_targeted: group["targets"]
                .as_array()
                .is_some_and(|targets| targets.iter().any(|target| is_target(target, module))),
        })
    })
}

/// Removes and returns the zero points of a module. Older files have them even if they are zero.
fn zero_points(
    joiner: &mut Joiner<'_>,
    weight: &StoredTensor,
    module: &str,
    is_symmetric: bool,
) -> Result<Option<StoredTensor>> {
    let name = format!("{module}.weight_zero_point");
    match joiner.stored.remove(&name) {
        None if !is_symmetric => joiner.beside(weight, &name).map(Some),
        zeros => Ok(zeros),
    }
}

/// Zero points that are bytes, one for each scale.
fn signed_zeros(
    joiner: &Joiner<'_>,
    zeros: &StoredTensor,
    scales: &StoredTensor,
    middle: i32,
) -> Result<Zeros> {
    if zeros.dtype == Dtype::I8 && matrix_shape(&zeros.shape) == matrix_shape(&scales.shape) {
        return Ok(Zeros::Signed(packed(zeros, 8, false, false), middle));
    }
    let found = format!("{} of shape {:?}", zeros.dtype, zeros.shape);
    let message = mismatch(found, format!("I8 of shape {:?}", scales.shape));
    Err(joiner.error(Code::Malformed, zeros.file, &zeros.name, message))
}

/// Joins a matrix packed into words.
pub(super) fn join_packed(joiner: &mut Joiner<'_>, stored: StoredTensor) -> Result<Tensor> {
    let module = stored.name.strip_suffix(".weight_packed").unwrap_or_default().to_owned();
    let scales = joiner.beside(&stored, &format!("{module}.weight_scale"))?;
    let shapes = matrix_shape(&stored.shape).zip(matrix_shape(&scales.shape));
    let found = format!("shape {:?} and scales {:?}", stored.shape, scales.shape);
    let fitting = |([rows, words], [scale_rows, groups]): ([usize; 2], [usize; 2])| {
        let fits = |it: Settings| Some((it.columns(words, groups)?, it));
        // A row with one scale is rather a whole row than one group.
        let found = settings(joiner.config, &module)
            .filter_map(fits)
            .min_by_key(|(_, it)| (!it.is_targeted, it.group.is_some()));
        let is_scale = scale_rows == rows || [scale_rows, groups] == [1, 1];
        let (columns, settings) = found.filter(|_| is_scale)?;
        Some((rows, columns, groups, settings))
    };
    let Some((rows, columns, groups, settings)) = shapes.and_then(fitting) else {
        let expected = "bits and groups as in config_groups of config.json";
        let message = mismatch(found, expected);
        return Err(joiner.error(Code::Malformed, stored.file, &stored.name, message));
    };
    let bits = settings.bits;
    if ![2, 4, 8].contains(&bits) {
        let message = mismatch(format!("{bits} bits"), "2, 4 or 8");
        return Err(joiner.error(Code::UnsupportedFormat, stored.file, &stored.name, message));
    }
    joiner.stored.remove(&format!("{module}.weight_shape"));
    let middle = 1 << (bits - 1);
    let zeros = zero_points(joiner, &stored, &module, settings.is_symmetric)?;
    let zeros = match zeros {
        None => Zeros::Constant(middle),
        Some(zeros) if zeros.dtype == Dtype::I32 => {
            joiner.check_shape(&zeros, &[rows.saturating_mul(bits).div_ceil(32), groups])?;
            Zeros::Unsigned(packed(&zeros, bits, false, true), 0)
        }
        Some(zeros) => signed_zeros(joiner, &zeros, &scales, middle)?,
    };
    let group_index = joiner.stored.remove(&format!("{module}.weight_g_idx"));
    let decoding = Decoding {
        shape: [rows, columns],
        bits,
        is_signed: false,
        zeros,
        groups,
        group: settings.group.unwrap_or(columns),
        is_in_order: group_index.is_none(),
        group_index,
    };
    let quants = packed(&stored, bits, false, false);
    joiner.integers(format!("{module}.weight"), quants, scales, decoding)
}

/// Joins a matrix of bytes.
pub(super) fn join_bytes(joiner: &mut Joiner<'_>, stored: StoredTensor) -> Result<Tensor> {
    let module = stored.name.strip_suffix(".weight").unwrap_or_default().to_owned();
    let scales = joiner.beside(&stored, &format!("{module}.weight_scale"))?;
    let shapes = matrix_shape(&stored.shape).zip(matrix_shape(&scales.shape));
    let fits = |([rows, columns], [scale_rows, groups]): &([usize; 2], [usize; 2])| {
        let is_scale = scale_rows == rows || [*scale_rows, *groups] == [1, 1];
        is_scale && columns.is_multiple_of(*groups)
    };
    let Some(([rows, columns], [_, groups])) = shapes.filter(fits) else {
        let found = format!("scales {:?} of shape {:?}", scales.shape, stored.shape);
        let message = mismatch(found, "one for each group, row or matrix");
        return Err(joiner.error(Code::Malformed, stored.file, &stored.name, message));
    };
    let is_symmetric = settings(joiner.config, &module).any(|settings| settings.is_symmetric)
        || settings(joiner.config, &module).next().is_none();
    let zeros = match zero_points(joiner, &stored, &module, is_symmetric)? {
        None => Zeros::Constant(128),
        Some(zeros) => signed_zeros(joiner, &zeros, &scales, 128)?,
    };
    let decoding = Decoding {
        shape: [rows, columns],
        bits: 8,
        is_signed: true,
        zeros,
        groups,
        group: columns / groups,
        is_in_order: true,
        group_index: None,
    };
    let quants = packed(&stored, 8, false, false);
    joiner.integers(stored.name, quants, scales, decoding)
}
