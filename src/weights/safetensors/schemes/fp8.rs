//! FP8: `x.weight` in F8_E4M3.
//!
//! - ModelOpt and compressed-tensors: beside `x.weight_scale`, one number, one for each row or one
//!   for each square of 128 rows and columns; or a power of two for each group of 32 weights
//!   (MXFP8).
//! - `fp8` of transformers (DeepSeek V3, Qwen3): beside `x.weight_scale_inv`, one number for each
//!   square, which multiplies, too.

use ::safetensors::Dtype;

use super::{Joiner, block_floats};
use crate::error::{Code, Result, mismatch};
use crate::formats::Format;
use crate::weights::safetensors::header::StoredTensor;
use crate::weights::tensor::{Numbers, Order, RowNumber, SeparateScales, Tensor};

/// Rows and columns that share a scale.
const SQUARE: usize = 128;

/// True if scales of that shape are those of squares. ModelOpt has axes of one number.
fn is_in_squares(scales: &[usize], rows: usize, columns: usize) -> bool {
    let [down, right] = [rows.div_ceil(SQUARE), columns / SQUARE];
    columns.is_multiple_of(SQUARE) && (scales == [down, right] || scales == [down, 1, right, 1])
}

/// Joins a matrix with its scales.
pub(super) fn join(joiner: &mut Joiner<'_>, stored: StoredTensor) -> Result<Tensor> {
    let name = format!("{}_scale", stored.name);
    let is_power = |scale: &StoredTensor| matches!(scale.dtype, Dtype::U8 | Dtype::F8_E8M0);
    if joiner.stored.get(&name).is_some_and(|scale| is_power(scale) && scale.shape.len() > 1) {
        return block_floats::MXFP8.join_weight(joiner, stored, Vec::new());
    }
    let inverse = format!("{name}_inv");
    let name = if joiner.stored.contains_key(&inverse) { inverse } else { name };
    let (scale, found) = joiner.scales(&stored, &name)?;
    let shape = stored.shape.clone();
    if let &[rows, columns] = &shape[..]
        && scale.count > 1
        && is_in_squares(&found, rows, columns)
    {
        let layout = SeparateScales {
            row: Vec::new(),
            span: vec![Numbers { shared_rows: SQUARE, ..scale }],
            spans: columns / SQUARE,
            span_bytes: SQUARE,
            order: Order::AsStored,
        };
        let weight = joiner.tensor(stored, Format::F8_E4M3_128, shape)?;
        return Ok(Tensor { separate_scales: Some(layout), ..weight });
    }
    let weight = joiner.tensor(stored, Format::F8_E4M3, shape)?;
    let rows = weight.rows();
    if scale.count != 1 && (scale.count != rows || found[0] != rows) {
        let expected = format!("one number, one for each of {rows} rows or {SQUARE} × {SQUARE}");
        let message = mismatch(format!("shape {found:?}"), expected);
        return Err(joiner.error(Code::UnsupportedFormat, scale.file, &scale.name, message));
    }
    let layout = SeparateScales {
        row: vec![RowNumber::Of(scale)],
        span: Vec::new(),
        spans: 1,
        span_bytes: weight.columns(),
        order: Order::AsStored,
    };
    Ok(Tensor { separate_scales: Some(layout), ..weight })
}
