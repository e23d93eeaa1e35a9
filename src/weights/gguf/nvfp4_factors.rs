//! Factors of matrices in NVFP4: `x.scale` beside `x.weight`, one number for all weights, as
//! llama.cpp's converter writes them. The two become one tensor in NVFP4_F32.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::formats::Format;
use crate::weights::source::ByteSource;
use crate::weights::tensor::{Numbers, Order, RowNumber, SeparateScales, Tensor, size_bytes};

/// Joins matrices and factors. Factors of other formats stay, and are later refused as unknown.
pub(super) fn join(
    files: &[Rc<dyn ByteSource>],
    tensors: &mut BTreeMap<String, Tensor>,
) -> Result<()> {
    let modules: Vec<String> =
        tensors.keys().filter_map(|name| name.strip_suffix(".scale").map(str::to_owned)).collect();
    for module in modules {
        let is_nvfp4 = |weight: &&mut Tensor| weight.format == Format::NVFP4;
        let factor = format!("{module}.scale");
        let Some(number) = tensors.get(&factor).cloned() else { continue };
        let weight = tensors.get_mut(&format!("{module}.weight"));
        let Some(weight) = weight.filter(is_nvfp4) else { continue };
        if number.weights() != 1 || number.format != Format::F32 {
            let found = format!("shape {:?} in {}", number.shape, number.format.name());
            let place = format!("tensor {factor}");
            let file = files[number.file].name();
            return Err(Error::malformed_value(file, &place, found, "one number in F32"));
        }
        let rules = Format::NVFP4.rules();
        let Tensor { name, format, file, offset, .. } = number;
        let numbers = Numbers::new(name, file, offset, 1, Some(format));
        weight.separate_scales = Some(SeparateScales {
            row: vec![RowNumber::Of(numbers), RowNumber::One],
            span: Vec::new(),
            spans: weight.columns() / rules.block_weights(),
            span_bytes: rules.block_bytes(),
            order: Order::Nvfp4,
        });
        weight.format = Format::NVFP4_F32;
        weight.size_bytes = size_bytes(weight.format, &weight.shape)?;
        tensors.remove(&factor);
    }
    Ok(())
}
