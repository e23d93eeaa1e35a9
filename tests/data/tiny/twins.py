"""Converts a tiny model to GGUF (its twin), as llama.cpp's converter does.

Tensor names are from the table of the package gguf. Changes of values are defined here for each
architecture. All tensors stay F32.
"""

import math

import gguf
import numpy as np
import twins_lfm
from falcon_h1 import falcon_tensors, fill_falcon
from gguf import MODEL_ARCH as Arch
from granite_hybrid import fill_granite as fill_granite_hybrid
from granite_hybrid import granite_tensors
from weights import nemotron_h_pattern

ARCHITECTURES = {
    "nemotron_h": Arch.NEMOTRON_H,
    "llama": Arch.LLAMA,
    "qwen2": Arch.QWEN2,
    "gemma2": Arch.GEMMA2,
    "gemma3": Arch.GEMMA3,
    "phi": Arch.PHI2,
    "qwen3": Arch.QWEN3,
    "smollm3": Arch.SMOLLM3,
    "granite": Arch.GRANITE,
    "phi3": Arch.PHI3,
    "mistral3": Arch.MISTRAL3,
    "olmo2": Arch.OLMO2,
    "lfm2": Arch.LFM2,
    "falcon_h1": Arch.FALCON_H1,
    "exaone4": Arch.EXAONE4,
    "ernie4_5": Arch.ERNIE4_5,
    "hunyuan": Arch.HUNYUAN_DENSE,
}


def rope(config):
    """Returns the rotary parameters from old or new keys; those of layers without a window."""
    found = dict(config.get("rope_parameters") or {})
    found = dict(found.get("full_attention", found))
    found.update(config.get("rope_scaling") or {})
    found.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    found.setdefault("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    found["rope_type"] = found.get("rope_type", found.get("type", "default"))
    return found


def heads(config):
    count = config["num_attention_heads"]
    return (
        count,
        config.get("num_key_value_heads") or count,
        config.get("head_dim") or config["hidden_size"] // count,
    )


# ---------------------------------------------------------------- tensors


def adjacent_pairs(values, head_count):
    """Reorders rows for RoPE: pairs are half a head apart in HF files, adjacent in GGUF."""
    split = values.reshape(head_count, 2, values.shape[0] // head_count // 2, *values.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(values.shape))


def llama_divisors(config):
    """Returns the frequency divisors of `llama3` scaling, or `None` without it."""
    parameters, (_, _, head_dim) = rope(config), heads(config)
    if parameters["rope_type"] != "llama3":
        return None
    factor, low, high = (
        parameters[name] for name in ("factor", "low_freq_factor", "high_freq_factor")
    )
    divisors = []
    for pair in range(head_dim // 2):
        turns = (
            parameters["original_max_position_embeddings"]
            * parameters["rope_theta"] ** (-2 * pair / head_dim)
            / (2 * math.pi)
        )
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, np.float32)


def convert_llama(name, values, config):
    head_count, kv_head_count, _ = heads(config)
    if name.endswith(("q_proj.weight", "q_proj.bias")):
        return adjacent_pairs(values, head_count)
    if name.endswith(("k_proj.weight", "k_proj.bias")):
        return adjacent_pairs(values, kv_head_count)
    return values


def convert_gemma(name, values, _):
    return values + np.float32(1) if name.endswith("norm.weight") else values


def convert_nemotron_h(name, values, config):
    if name.endswith("A_log"):
        return -np.exp(values).reshape(-1, 1)
    if name.endswith("mixer.D"):
        return values.reshape(-1, 1)
    if name.endswith("conv1d.weight"):
        return values.squeeze(1)
    if name.endswith("mixer.norm.weight"):
        return values.reshape(config["n_groups"], -1)
    return values


CONVERTERS = {
    "nemotron_h": convert_nemotron_h,
    "llama": convert_llama,
    "smollm3": convert_llama,
    "granite": convert_llama,
    "mistral3": convert_llama,
    "gemma2": convert_gemma,
    "gemma3": convert_gemma,
    **twins_lfm.CONVERTERS,
}


def twin_tensors(family, config, weights, layer_count):
    """Returns (name, values) of the twin's tensors."""
    if family == "granitehybrid":
        return granite_tensors(config, weights, adjacent_pairs)
    if family == "falcon_h1":
        return falcon_tensors(config, weights)
    if family == "lfm3":
        return twins_lfm.lfm3_tensors(config, weights)
    names = gguf.get_tensor_name_map(ARCHITECTURES[family], layer_count)
    convert = CONVERTERS.get(family, lambda _, values, __: values)
    out = []
    for name, values in weights.items():
        known = name
        if family == "nemotron_h":
            known = name.replace("model.", "backbone.", 1).replace("dt_bias", "dt_proj.bias")
        mapped = names.get_name(known, try_suffixes=(".weight", ".bias"))
        if mapped is None:
            raise KeyError(f"{name}: found no name in GGUF")
        out.append((mapped, convert(name, values, config)))
    divisors = llama_divisors(config) if family in ("llama", "exaone4") else None
    if divisors is not None:
        out.append(("rope_freqs.weight", divisors))
    if family == "phi3":
        for kind in ("long", "short"):
            divisors = np.array(rope(config)[f"{kind}_factor"], np.float32)
            out.append((f"rope_factors_{kind}.weight", divisors))
    return out


def fuse(found):
    """Joins each layer's queries, keys and values to one tensor."""
    out, parts = [], {}
    for name, values in found:
        part = name.split(".")[-2]
        if part not in ("attn_q", "attn_k", "attn_v"):
            out.append((name, values))
            continue
        parts.setdefault(name.replace(part, "attn_qkv"), {})[part] = values
    return out + [
        (name, np.concatenate([part[f"attn_{one}"] for one in "qkv"]))
        for name, part in parts.items()
    ]


# ---------------------------------------------------------------- keys


def fill_common(writer, config):
    """Writes the keys of the converter's base class."""
    head_count, kv_head_count, _ = heads(config)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(head_count)
    writer.add_head_count_kv(kv_head_count)
    if "rms_norm_eps" in config:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "head_dim" in config:
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])


def fill_rope(writer, config):
    parameters = rope(config)
    writer.add_rope_freq_base(parameters["rope_theta"])
    if parameters["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(parameters["factor"])


def fill_llama(writer, config):
    fill_common(writer, config)
    fill_rope(writer, config)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(heads(config)[2])


def fill_qwen2(writer, config):
    fill_common(writer, config)
    fill_rope(writer, config)


def fill_granite(writer, config):
    fill_llama(writer, config)
    writer.add_attention_scale(config["attention_multiplier"])
    writer.add_embedding_scale(config["embedding_multiplier"])
    writer.add_residual_scale(config["residual_multiplier"])
    writer.add_logit_scale(config["logits_scaling"])


def fill_gemma2(writer, config):
    fill_common(writer, config)
    writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    writer.add_sliding_window(config["sliding_window"])


def fill_gemma3(writer, config):
    fill_common(writer, config)
    fill_rope(writer, config)
    # Since 2026 the converter also writes the RoPE base of layers with a window.
    if "rope_parameters" in config:
        writer.add_rope_freq_base_swa(config["rope_parameters"]["sliding_attention"]["rope_theta"])
    writer.add_sliding_window(config["sliding_window"])


def fill_phi(writer, config):
    fill_common(writer, config)
    head_count, _, _ = heads(config)
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_rope_dimension_count(
        int(rope(config)["partial_rotary_factor"] * config["hidden_size"]) // head_count
    )
    writer.add_add_bos_token(False)


def fill_phi3(writer, config):
    fill_common(writer, config)
    parameters, (_, _, head_dim) = rope(config), heads(config)
    writer.add_rope_freq_base(parameters["rope_theta"])
    writer.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])
    writer.add_rope_dimension_count(int(parameters["partial_rotary_factor"] * head_dim))
    writer.add_sliding_window(config["sliding_window"] or 0)
    scale = config["max_position_embeddings"] / parameters["original_max_position_embeddings"]
    logarithms = math.log(scale) / math.log(parameters["original_max_position_embeddings"])
    writer.add_rope_scaling_attn_factors(math.sqrt(1 + logarithms))


def fill_mistral3(writer, config):
    fill_llama(writer, config)
    parameters = rope(config)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(parameters["factor"])
    writer.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_beta_fast(parameters["beta_fast"])
    writer.add_rope_scaling_yarn_beta_slow(parameters["beta_slow"])
    writer.add_rope_scaling_yarn_log_mul(parameters["mscale_all_dim"])
    writer.add_attn_temperature_scale(parameters["llama_4_scaling_beta"])


def fill_olmo2(writer, config):
    fill_common(writer, config)
    fill_rope(writer, config)
    parameters = rope(config)
    if parameters["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(parameters["factor"])
        writer.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_attn_factor(parameters["attention_factor"])
        writer.add_rope_scaling_yarn_beta_fast(parameters["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(parameters["beta_slow"])
    if "sliding_window" in config:
        writer.add_rope_freq_base_swa(config["rope_parameters"]["sliding_attention"]["rope_theta"])
        writer.add_sliding_window(config["sliding_window"])
        kinds = config["layer_types"]
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in kinds])


def fill_exaone4(writer, config):
    fill_common(writer, config)
    fill_rope(writer, config)
    writer.add_vocab_size(config["vocab_size"])
    if config["sliding_window"]:
        kinds = config["layer_types"]
        writer.add_sliding_window(config["sliding_window"])
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in kinds])


def fill_hunyuan(writer, config):
    fill_common(writer, config)
    parameters, head_dim = rope(config), config["head_dim"]
    if parameters["rope_type"] != "dynamic":
        fill_rope(writer, config)
        return
    alpha = parameters["alpha"] ** (head_dim / (head_dim - 2))
    writer.add_rope_freq_base(parameters["rope_theta"] * alpha)
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    writer.add_rope_scaling_factor(1)
    writer.add_rope_scaling_orig_ctx_len(256 * 1024)
    writer.add_context_length(256 * 1024)


def fill_nemotron_h(writer, config):
    pattern = nemotron_h_pattern(config)
    per_layer = lambda kind, value: [value if found == kind else 0 for found in pattern]
    head_count, kv_head_count, head_dim = heads(config)
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(len(pattern))
    writer.add_feed_forward_length(per_layer("-", config["intermediate_size"]))
    writer.add_head_count(head_count)
    writer.add_head_count_kv(per_layer("*", kv_head_count))
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_vocab_size(config["vocab_size"])
    # As the converter's base class, which ignores head_dim; the architecture has no positions.
    writer.add_rope_dimension_count(config["hidden_size"] // head_count)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_scaling_finetuned(False)
    writer.add_ssm_conv_kernel(config["conv_kernel"])
    writer.add_ssm_state_size(config["ssm_state_size"])
    writer.add_ssm_group_count(config["n_groups"])
    writer.add_ssm_inner_size(config["mamba_num_heads"] * config["mamba_head_dim"])
    writer.add_ssm_time_step_rank(config["mamba_num_heads"])


FILLERS = {
    "nemotron_h": fill_nemotron_h,
    "llama": fill_llama,
    "qwen2": fill_qwen2,
    "gemma2": fill_gemma2,
    "gemma3": fill_gemma3,
    "phi": fill_phi,
    "qwen3": fill_qwen2,
    "smollm3": fill_llama,
    "granite": fill_granite,
    "phi3": fill_phi3,
    "mistral3": fill_mistral3,
    "olmo2": fill_olmo2,
    "granitehybrid": fill_granite_hybrid,
    "falcon_h1": fill_falcon,
    "exaone4": fill_exaone4,
    "ernie4_5": fill_qwen2,
    "hunyuan": fill_hunyuan,
    **twins_lfm.FILLERS,
}
