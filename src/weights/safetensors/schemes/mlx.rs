//! MLX: `x.weight`, packed into 32-bit words, beside `x.scales`, one number for each group, and in
//! affine mode `x.biases`. `config.json` states mode, bits and group size, for all modules or for
//! individual ones.

use serde_json::Value;

use super::Joiner;
use super::block_floats::{BlockFloats, MXFP4, MXFP8, NVFP4};
use crate::error::{Code, Error, Result, excerpt, mismatch};
use crate::formats::{Format, Mlx, MlxScales};
use crate::weights::safetensors::files::CONFIG;
use crate::weights::safetensors::header::{StoredTensor, unsupported_dtype};
use crate::weights::tensor::{Numbers, Order, RowNumber, SeparateScales, Tensor};

/// Modes other than affine, and the numbers in front of each row of their formats.
const MODES: &[(&str, &BlockFloats, usize)] =
    &[("mxfp4", &MXFP4, 0), ("mxfp8", &MXFP8, 0), ("nvfp4", &NVFP4, 2)];

/// Joins a matrix with its scales and biases.
pub(super) fn join(joiner: &mut Joiner<'_>, stored: StoredTensor) -> Result<Tensor> {
    let config = joiner.config.get("quantization");
    let Some((module, config)) = stored.name.strip_suffix(".weight").zip(config) else {
        let file = joiner.files[stored.file].name();
        return Err(unsupported_dtype(file, &stored.name, &stored.dtype.to_string()));
    };
    match parameters(config, module)? {
        Mode::Affine { bits, group } => affine(joiner, stored, bits, group),
        Mode::Floats(floats, numbers) => {
            let scales = format!("{module}.scales");
            let scales = joiner.beside(&stored, &scales)?;
            floats.join(joiner, stored, &scales, vec![RowNumber::One; numbers])
        }
    }
}

/// Parameters of a module's weights.
enum Mode {
    Affine { bits: usize, group: usize },
    Floats(&'static BlockFloats, usize),
}

/// Joins a matrix in affine mode with its scales and biases.
fn affine(
    joiner: &mut Joiner<'_>,
    stored: StoredTensor,
    bits: usize,
    group: usize,
) -> Result<Tensor> {
    let module = stored.name.trim_end_matches("weight");
    let names = ["scales", "biases"].map(|part| format!("{module}{part}"));
    let (scales, scales_shape) = joiner.scales(&stored, &names[0])?;
    let (biases, biases_shape) = joiner.scales(&stored, &names[1])?;
    let words = stored.shape.last().copied().unwrap_or(1);
    // Whole groups are whole words: other numbers of words fit no scales.
    let columns = words.saturating_mul(32) / bits;
    let with_last = |last: usize| {
        let mut shape = stored.shape.clone();
        shape.pop();
        shape.push(last);
        shape
    };
    let (shape, expected) = (with_last(columns), with_last(columns / group));
    let is_fit = scales_shape == expected && biases_shape == expected;
    if !columns.is_multiple_of(group) || !is_fit || scales.format != biases.format {
        let [scales, biases] =
            [(&scales, &scales_shape), (&biases, &biases_shape)].map(|(found, shape)| {
                format!("{shape:?} in {}", found.format.map_or("", Format::name))
            });
        let shape = &stored.shape;
        let found = format!("shape {shape:?}, scales {scales} and biases {biases}");
        let message = mismatch(found, format!("{bits} bits in groups of {group}"));
        return Err(joiner.error(Code::Malformed, stored.file, &stored.name, message));
    }
    let kind = match scales.format {
        Some(Format::F16) => MlxScales::F16,
        Some(Format::BF16) => MlxScales::BF16,
        _ => MlxScales::F32,
    };
    let format = Mlx::new(bits, group, kind).map(Format::MLX);
    let format =
        format.ok_or_else(|| Error::internal(format!("{bits} bits in groups of {group}")))?;
    let scales = SeparateScales {
        row: Vec::new(),
        span: [scales, biases].map(|numbers| Numbers { widened: false, ..numbers }).to_vec(),
        spans: columns / group,
        span_bytes: group * bits / 8,
        order: Order::AsStored,
    };
    Ok(Tensor { separate_scales: Some(scales), ..joiner.tensor(stored, format, shape)? })
}

/// Parameters of a module, which may differ from those of the model.
fn parameters(config: &Value, module: &str) -> Result<Mode> {
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
    let mode = config.get("mode").map_or("affine", |mode| mode.as_str().unwrap_or("something"));
    let is_wanted = |(name, floats, _): &&(&str, &BlockFloats, usize)| {
        (*name, floats.bits, floats.group) == (mode, bits, group)
    };
    match MODES.iter().find(is_wanted) {
        Some((_, floats, numbers)) => Ok(Mode::Floats(floats, *numbers)),
        None if mode == "affine" && Mlx::new(bits, group, MlxScales::F16).is_some() => {
            Ok(Mode::Affine { bits, group })
        }
        None => {
            let found = format!("{mode} of {bits} bits in groups of {group}");
            let expected = "affine of 2 to 6 or 8 bits in groups of 32, 64 or 128, mxfp4 or mxfp8 \
                            in groups of 32, or nvfp4 in groups of 16";
            Err(Error::unsupported_value(CONFIG, &field, found, expected))
        }
    }
}
