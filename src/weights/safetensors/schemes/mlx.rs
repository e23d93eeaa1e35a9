//! MLX: `x.weight`, packed into 32-bit words, beside `x.scales` and `x.biases`, one number for each
//! group. `config.json` states bits and group size, for all modules or for individual ones.

use serde_json::Value;

use super::Joiner;
use crate::error::{Code, Error, Result, excerpt, mismatch};
use crate::formats::{Format, Mlx, MlxScales};
use crate::weights::safetensors::files::CONFIG;
use crate::weights::safetensors::header::{StoredTensor, unsupported_dtype};
use crate::weights::tensor::{SeparateScales, Tensor};

/// Joins a matrix with its scales and biases.
pub(super) fn join(joiner: &mut Joiner<'_>, stored: StoredTensor) -> Result<Tensor> {
    let config = joiner.config.get("quantization");
    let Some((module, config)) = stored.name.strip_suffix(".weight").zip(config) else {
        let file = joiner.files[stored.file].name();
        return Err(unsupported_dtype(file, &stored.name, &stored.dtype.to_string()));
    };
    let (bits, group) = parameters(config, module)?;
    let (scales, biases) = (format!("{module}.scales"), format!("{module}.biases"));
    let (scales, biases) = (joiner.scales(&stored, &scales)?, joiner.scales(&stored, &biases)?);
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
        let [scales, biases] =
            [&scales, &biases].map(|found| format!("{:?} in {}", found.shape, found.format.name()));
        let shape = &stored.shape;
        let found = format!("shape {shape:?}, scales {scales} and biases {biases}");
        let message = mismatch(found, format!("{bits} bits in groups of {group}"));
        return Err(joiner.error(Code::Malformed, stored.file, &stored.name, message));
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
    Ok(Tensor { separate_scales: Some(scales), ..joiner.tensor(stored, format, shape)? })
}

/// Bits and group size of a module, which may differ from those of the model.
fn parameters(config: &Value, module: &str) -> Result<(usize, usize)> {
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
