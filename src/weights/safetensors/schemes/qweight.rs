//! AWQ and GPTQ: `x.qweight`, transposed and in 32-bit words, beside `x.scales` and `x.qzeros`, one
//! number for each group of inputs, and in GPTQ `x.g_idx`, the group of each input. auto-round
//! writes either. Sources: AutoAWQ's `packing_utils`, GPTQModel's `BaseQuantLinear`.

use serde_json::Value;

use super::Joiner;
use super::integers::{Decoding, packed};
use crate::error::{Code, Error, Result, mismatch, quoted};
use crate::weights::integers::{Packed, Zeros};
use crate::weights::safetensors::files::CONFIG;
use crate::weights::safetensors::header::StoredTensor;
use crate::weights::tensor::Tensor;

/// A layout of the quants.
#[derive(Clone, Copy)]
enum Layout {
    /// A word contains eight outputs in the order of [`AWQ_ORDER`].
    Awq,
    /// A word contains consecutive inputs; the number is added to the zero points.
    Gptq(u32),
}

/// Position in a word of each of eight outputs.
const AWQ_ORDER: &[u8] = &[0, 4, 1, 5, 2, 6, 3, 7];
/// Layouts by the names that `config.json` has for them: AWQ's `version`, GPTQ's
/// `checkpoint_format` and auto-round's `packing_format`.
const LAYOUTS: [(&str, Layout); 9] = [
    ("gemm", Layout::Awq),
    ("auto_round:auto_awq", Layout::Awq),
    ("auto_round:awq", Layout::Awq),
    ("gptq", Layout::Gptq(1)),
    ("auto_round:auto_gptq", Layout::Gptq(1)),
    ("auto_round:gptq", Layout::Gptq(1)),
    ("gptq_v2", Layout::Gptq(0)),
    ("auto_round", Layout::Gptq(0)),
    ("auto_round:gptqmodel", Layout::Gptq(0)),
];

/// The layout that `config.json` states.
fn layout(config: &Value) -> Result<Layout> {
    let config = &config["quantization_config"];
    let text = |key: &str| config[key].as_str().map(str::to_lowercase);
    let (keys, default) = match config["quant_method"].as_str() {
        Some("awq") => (["version", "format"], "gemm"),
        Some("gptq") => (["checkpoint_format", "format"], "gptq"),
        _ => (["packing_format"; 2], "auto_round:auto_gptq"),
    };
    let name = keys.into_iter().find_map(text).unwrap_or_else(|| default.to_owned());
    let is_marlin = config["is_marlin_format"] == true;
    let known = LAYOUTS.iter().find(|(known, _)| *known == name && !is_marlin);
    known.map(|(_, layout)| *layout).ok_or_else(|| {
        let found = if is_marlin { "is_marlin_format".to_owned() } else { quoted(&name) };
        let field = format!("quantization_config: {}", keys[0]);
        Error::unsupported_value(CONFIG, &field, found, "gemm (AWQ), gptq or gptq_v2")
    })
}

/// Joins a matrix.
pub(super) fn join(joiner: &mut Joiner<'_>, stored: StoredTensor) -> Result<Tensor> {
    let module = stored.name.strip_suffix(".qweight").unwrap_or_default().to_owned();
    let layout = layout(joiner.config)?;
    let scales = joiner.beside(&stored, &format!("{module}.scales"))?;
    let zeros = joiner.beside(&stored, &format!("{module}.qzeros"))?;
    let shapes = [&stored.shape, &scales.shape, &zeros.shape];
    let found = format!("shape {:?}, scales {:?} and qzeros {:?}", shapes[0], shapes[1], shapes[2]);
    let bad = |code: Code, expected: &str| {
        joiner.error(code, stored.file, &stored.name, mismatch(&found, expected))
    };
    let malformed = || bad(Code::Malformed, "whole groups of inputs, and the outputs in all three");
    let [&[rows, words], &[groups, outputs], &[zero_groups, zero_words]] =
        shapes.map(Vec::as_slice)
    else {
        return Err(malformed());
    };
    let bits = zero_words.saturating_mul(32) / outputs;
    if ![2, 4, 8].contains(&bits) || (matches!(layout, Layout::Awq) && bits != 4) {
        return Err(bad(Code::UnsupportedFormat, "4 bits, or 2 or 8 of GPTQ"));
    }
    let per_word = 32 / bits;
    let (inputs, right) = match layout {
        Layout::Awq => (rows, words.saturating_mul(per_word)),
        Layout::Gptq(_) => (rows.saturating_mul(per_word), words),
    };
    let settings = &joiner.config["quantization_config"];
    let stated = settings["group_size"].as_u64().and_then(|it| usize::try_from(it).ok());
    let fits = |group: &usize| *group > 0 && inputs.div_ceil(*group) == groups;
    let group = stated.filter(fits).or(Some(inputs / groups)).filter(fits);
    let are_outputs = outputs == right && zero_words.checked_mul(per_word) == Some(outputs);
    let Some(group) = group.filter(|_| are_outputs && zero_groups == groups) else {
        return Err(malformed());
    };
    let is_in_order = settings["desc_act"] != true || groups == 1;
    let group_index = joiner.stored.remove(&format!("{module}.g_idx"));
    let is_gptq = matches!(layout, Layout::Gptq(_));
    let order = if is_gptq { packed(&stored, bits, true, true).order } else { AWQ_ORDER };
    let quants = Packed { order, ..packed(&stored, bits, true, is_gptq) };
    let zeros = Packed { order, ..packed(&zeros, bits, true, false) };
    let added = if let Layout::Gptq(added) = layout { added } else { 0 };
    let decoding = Decoding {
        shape: [outputs, inputs],
        bits,
        is_signed: false,
        zeros: Zeros::Unsigned(zeros, added),
        groups,
        group,
        is_in_order: is_in_order || group_index.is_none(),
        group_index,
    };
    joiner.integers(format!("{module}.weight"), quants, scales, decoding)
}
