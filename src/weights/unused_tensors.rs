//! Tensors in checkpoints that do not affect the output of the text model.

/// Names of quantized activations and cache entries, which precede `_scale` and similar suffixes.
const QUANTIZED_ACTIVATIONS: [&str; 8] =
    ["input", "output", "q", "k", "v", "kv", "prob", "prob_output"];
/// Tables and masks derived from the configuration, which old exports contain.
const DERIVED: [&str; 7] = [
    "inv_freq",
    "original_inv_freq",
    "cos_cached",
    "sin_cached",
    "position_ids",
    "masked_bias",
    "attn_rot_embd.weight",
];
/// Parts of multimodal models, heads for speculative decoding, and heads of BERT for training.
const OTHER_PARTS: [&str; 12] = [
    "vision_tower",
    "vision_model",
    "visual",
    "multi_modal_projector",
    "audio_tower",
    "mtp",
    "eagle_module",
    "draft_model",
    "medusa_head",
    "pooler",
    "cls.predictions",
    "cls.seq_relationship",
];

/// True if a tensor of that name can be ignored, whatever it contains.
///
/// Includes scales and zero points of activations and of the KV cache, under the names that
/// compressed-tensors, ModelOpt, Quark and vLLM use: they describe 8-bit quantization of values
/// that this engine keeps as floats. Scales and zero points of weights are not included.
pub(super) fn is_unused(name: &str) -> bool {
    let is_derived =
        |end: &&str| name.strip_suffix(*end).is_some_and(|module| module.ends_with('.'));
    let rest = name.strip_prefix("model.").or(name.strip_prefix("bert.")).unwrap_or(name);
    let is_part = |part: &&str| rest.strip_prefix(*part).is_some_and(|rest| rest.starts_with('.'));
    let is_derived_or_part = DERIVED.iter().any(is_derived) || OTHER_PARTS.iter().any(is_part);
    is_derived_or_part || is_activation_scale(name)
}

/// True for scales and zero points of activations or of the KV cache.
fn is_activation_scale(name: &str) -> bool {
    let Some((module, last)) = name.rsplit_once('.') else { return false };
    if last == "scale" {
        return [".q", ".k_cache", ".v_cache"].iter().any(|end| module.ends_with(end));
    }
    let suffixes = ["_global_scale", "_scale", "_zero_point"];
    let quantized = suffixes.iter().find_map(|suffix| last.strip_suffix(suffix));
    quantized.is_some_and(|name| QUANTIZED_ACTIVATIONS.contains(&name))
}
