//! Floats of four or eight bits in groups with a scale each.
//!
//! - compressed-tensors: `x.weight_packed` of four bits, two in a byte, or `x.weight` in F8_E4M3,
//!   beside `x.weight_scale`; in NVFP4 also `x.weight_global_scale`, which divides all scales.
//! - ModelOpt: NVFP4 as `x.weight` beside `x.weight_scale` and `x.weight_scale_2`, which multiplies
//!   all scales.
//! - MLX's modes mxfp4, mxfp8 and nvfp4: see [`super::mlx`].

use ::safetensors::Dtype;

use super::Joiner;
use crate::error::{Code, Result, mismatch};
use crate::formats::Format;
use crate::weights::safetensors::header::StoredTensor;
use crate::weights::tensor::{Numbers, Order, RowNumber, SeparateScales, Tensor};

/// Weights with one scale of a byte per group.
pub(super) struct BlockFloats {
    pub(super) format: Format,
    /// Bits of a weight.
    pub(super) bits: usize,
    /// Weights per scale.
    pub(super) group: usize,
    order: Order,
    /// Element types that scales may have.
    scales: [Dtype; 2],
}

/// Element types of scales that are powers of two.
const E8M0: [Dtype; 2] = [Dtype::U8, Dtype::F8_E8M0];
pub(super) const MXFP4: BlockFloats =
    BlockFloats { format: Format::MXFP4, bits: 4, group: 32, order: Order::Nibbles, scales: E8M0 };
pub(super) const MXFP8: BlockFloats =
    BlockFloats { format: Format::MXFP8, bits: 8, group: 32, order: Order::AsStored, scales: E8M0 };
pub(super) const NVFP4: BlockFloats = BlockFloats {
    format: Format::NVFP4_F32,
    bits: 4,
    group: 16,
    order: Order::AsStored,
    scales: [Dtype::U8, Dtype::F8_E4M3],
};

/// Joins a matrix in NVFP4 of compressed-tensors with its scales.
pub(super) fn divided_nvfp4(joiner: &mut Joiner<'_>, stored: StoredTensor) -> Result<Tensor> {
    let divisor = one_number(joiner, &stored, "_global_scale")?;
    NVFP4.join_weight(joiner, stored, vec![RowNumber::One, divisor])
}

/// Joins a matrix in NVFP4 of ModelOpt with its scales.
pub(super) fn multiplied_nvfp4(joiner: &mut Joiner<'_>, stored: StoredTensor) -> Result<Tensor> {
    let factor = one_number(joiner, &stored, "_scale_2")?;
    NVFP4.join_weight(joiner, stored, vec![factor, RowNumber::One])
}

/// Joins a matrix in MXFP4 with its scales.
pub(super) fn mxfp4(joiner: &mut Joiner<'_>, stored: StoredTensor) -> Result<Tensor> {
    MXFP4.join_weight(joiner, stored, Vec::new())
}

/// Name of the weight that a tensor of packed quants contains.
fn weight_name(stored: &StoredTensor) -> String {
    stored.name.strip_suffix("_packed").unwrap_or(&stored.name).to_owned()
}

/// The number for the whole matrix whose name ends in `end`.
fn one_number(joiner: &mut Joiner<'_>, stored: &StoredTensor, end: &str) -> Result<RowNumber> {
    let (number, shape) = joiner.scales(stored, &format!("{}{end}", weight_name(stored)))?;
    if number.count != 1 {
        let message = mismatch(format!("shape {shape:?}"), "one number");
        return Err(joiner.error(Code::UnsupportedFormat, number.file, &number.name, message));
    }
    Ok(RowNumber::Of(number))
}

impl BlockFloats {
    /// Joins `x.weight` or `x.weight_packed` with `x.weight_scale`.
    pub(super) fn join_weight(
        &self,
        joiner: &mut Joiner<'_>,
        stored: StoredTensor,
        row: Vec<RowNumber>,
    ) -> Result<Tensor> {
        let name = weight_name(&stored);
        let scales = joiner.beside(&stored, &format!("{name}_scale"))?;
        let joined = self.join(joiner, stored, &scales, row)?;
        Ok(Tensor { name, ..joined })
    }

    /// Joins a matrix with its scales and the numbers in front of its rows.
    pub(super) fn join(
        &self,
        joiner: &Joiner<'_>,
        stored: StoredTensor,
        scales: &StoredTensor,
        row: Vec<RowNumber>,
    ) -> Result<Tensor> {
        let outer = &stored.shape[..stored.shape.len().saturating_sub(1)];
        let last = stored.shape.last().copied().unwrap_or(1);
        let columns = last.saturating_mul(stored.dtype.bitsize() / self.bits);
        let with_last = |last: usize| [outer, &[last]].concat();
        let is_fit = scales.shape == with_last(columns / self.group);
        if !columns.is_multiple_of(self.group) || !is_fit || !self.scales.contains(&scales.dtype) {
            let found = format!(
                "shape {:?} and {} of {:?} in {}",
                stored.shape, scales.name, scales.shape, scales.dtype
            );
            let expected = format!(
                "{} and a scale in {} or {} for each {} weights of a row",
                self.format.name(),
                self.scales[0],
                self.scales[1],
                self.group
            );
            let message = mismatch(found, expected);
            return Err(joiner.error(Code::Malformed, stored.file, &stored.name, message));
        }
        let shape = with_last(columns);
        let count = scales.shape.iter().product();
        let scales = Numbers::new(scales.name.clone(), scales.file, scales.offset, count, None);
        let layout = SeparateScales {
            row,
            span: vec![scales],
            spans: columns / self.group,
            span_bytes: self.group * self.bits / 8,
            order: self.order,
        };
        let tensor = joiner.tensor(stored, self.format, shape)?;
        Ok(Tensor { separate_scales: Some(layout), ..tensor })
    }
}
