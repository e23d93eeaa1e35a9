//! Tensors that checkpoints carry and that take no part in the text model's numbers.

/// What a module is called whose numbers are rounded, before `_scale` and the like.
const ROUNDED: [&str; 8] = ["input", "output", "q", "k", "v", "kv", "prob", "prob_output"];
/// Tables and masks that the configuration says, which old exports hold as well.
const DERIVED: [&str; 7] = [
    "inv_freq",
    "original_inv_freq",
    "cos_cached",
    "sin_cached",
    "position_ids",
    "masked_bias",
    "attn_rot_embd.weight",
];
/// Parts of a larger model: eyes, ears, and heads that guess several tokens ahead.
const OTHER_PARTS: [&str; 9] = [
    "vision_tower",
    "vision_model",
    "visual",
    "multi_modal_projector",
    "audio_tower",
    "mtp",
    "eagle_module",
    "draft_model",
    "medusa_head",
];

/// Whether a tensor of that name may be left out, whatever it holds.
///
/// Scales and zero points of activations and of the key/value cache, by all the names that
/// compressed-tensors, ModelOpt, Quark and vLLM give them, say how those are rounded to eight bits;
/// here both are floats and nothing is rounded. Those of weights are not among them.
pub(super) fn is_spare(name: &str) -> bool {
    let is_derived =
        |end: &&str| name.strip_suffix(*end).is_some_and(|module| module.ends_with('.'));
    let own = name.strip_prefix("model.").unwrap_or(name);
    let is_part = |part: &&str| own.strip_prefix(*part).is_some_and(|rest| rest.starts_with('.'));
    DERIVED.iter().any(is_derived) || OTHER_PARTS.iter().any(is_part) || is_rounding(name)
}

/// Whether it says how activations or the key/value cache are rounded.
fn is_rounding(name: &str) -> bool {
    let Some((module, last)) = name.rsplit_once('.') else { return false };
    if last == "scale" {
        return [".q", ".k_cache", ".v_cache"].iter().any(|end| module.ends_with(end));
    }
    let of =
        ["_global_scale", "_scale", "_zero_point"].iter().find_map(|end| last.strip_suffix(end));
    of.is_some_and(|of| ROUNDED.contains(&of))
}
