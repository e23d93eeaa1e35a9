//! FP8, as written by ModelOpt and compressed-tensors: `x.weight` in F8_E4M3 beside
//! `x.weight_scale`, one number or one for each row.

use super::Joiner;
use crate::error::{Code, Result, mismatch};
use crate::formats::Format;
use crate::weights::safetensors::header::StoredTensor;
use crate::weights::tensor::{Order, RowNumber, SeparateScales, Tensor};

/// Joins a matrix with its scale.
pub(super) fn join(joiner: &mut Joiner<'_>, stored: StoredTensor) -> Result<Tensor> {
    let (scale, found) = joiner.scales(&stored, &format!("{}_scale", stored.name))?;
    let shape = stored.shape.clone();
    let mut weight = joiner.tensor(stored, Format::F8_E4M3, shape)?;
    let rows = weight.rows();
    if scale.count != 1 && (scale.count != rows || found[0] != rows) {
        let expected = format!("one number or one for each of {rows} rows");
        let message = mismatch(format!("shape {found:?}"), expected);
        return Err(joiner.error(Code::UnsupportedFormat, scale.file, &scale.name, message));
    }
    weight.separate_scales = Some(SeparateScales {
        row: vec![RowNumber::Of(scale)],
        span: Vec::new(),
        spans: 1,
        span_bytes: weight.columns(),
        order: Order::AsStored,
    });
    Ok(weight)
}
