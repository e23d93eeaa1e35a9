//! Quantization methods of `config.json` whose weights are not loaded.

use serde_json::Value;

use crate::error::{Code, Error, Result, quoted};
use crate::weights::safetensors::files::CONFIG;

/// `quant_method` of methods that cannot be loaded.
const REFUSED: &[&str] = &[
    "aqlm",
    "bitnet",
    "bitsandbytes",
    "eetq",
    "exl2",
    "exl3",
    "fouroversix",
    "fp_quant",
    "gemma",
    "hqq",
    "higgs",
    "metal",
    "mxfp4",
    "paroquant",
    "qqq",
    "quanto",
    "sinq",
    "spqr",
    "torchao",
    "vptq",
];

/// `quant_method` of methods of which at least some weights are loaded.
const LOADED: &[&str] = &[
    "auto-round",
    "awq",
    "compressed-tensors",
    "fp8",
    "gptq",
    "intel/auto-round",
    "modelopt",
    "tablm",
];

/// `unsupported-format` if `config.json` states a method that cannot be loaded.
pub(super) fn check(config: &Value) -> Result<()> {
    let refused = method(config).filter(|method| REFUSED.contains(method));
    refused.map_or(Ok(()), |method| Err(unsupported(method)))
}

/// Replaces an error about a tensor if its cause is a method that is not known.
pub(super) fn explain(config: &Value, error: Error) -> Error {
    match method(config).filter(|method| !LOADED.contains(method)) {
        Some(method) if error.code() == Code::UnsupportedFormat => unsupported(method),
        _ => error,
    }
}

fn method(config: &Value) -> Option<&str> {
    config.pointer("/quantization_config/quant_method").and_then(Value::as_str)
}

fn unsupported(method: &str) -> Error {
    let expected = "compressed-tensors, ModelOpt, AWQ, GPTQ or MLX: load one of these, a GGUF file \
                    or the original weights, which tablm quantize makes smaller";
    let field = "quantization_config: quant_method";
    Error::unsupported_value(CONFIG, field, quoted(method), expected)
}
