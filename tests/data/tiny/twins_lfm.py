"""Keys and changes of tensors of the tiny LFM models in GGUF; see twins.py."""

import numpy as np
from weights_lfm import feed_forward_size, layer_types


def convert_lfm2(name, values, _):
    return values.squeeze(1) if name.endswith("conv.conv.weight") else values


def fill_lfm2(writer, config):
    parameters = config.get("rope_parameters") or {"rope_theta": config["rope_theta"]}
    kv_heads = config["num_key_value_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv([0 if kind == "conv" else kv_heads for kind in layer_types(config)])
    writer.add_rope_freq_base(parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config["norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_shortconv_l_cache(config["conv_L_cache"])
    writer.add_feed_forward_length(feed_forward_size(config))


# The package gguf does not know LFM3 yet.
LFM3_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.embedding_norm": "output_norm",
    "lm_head": "output",
    "operator_norm": "attn_norm",
    "post_operator_norm": "post_attention_norm",
    "ffn_norm": "ffn_norm",
    "post_ffn_norm": "post_ffw_norm",
    "conv.conv": "shortconv.conv",
    "conv.in_proj": "shortconv.in_proj",
    "conv.out_proj": "shortconv.out_proj",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.gate_proj": "attn_gate",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
}


def lfm3_tensors(config, weights):
    """Returns (name, values) of the twin's tensors."""
    out = []
    for name, values in weights.items():
        module = name.removesuffix(".weight")
        prefix = ""
        if module.startswith("model.layers."):
            _, _, layer, module = module.split(".", 3)
            prefix = f"blk.{layer}."
        out.append((f"{prefix}{LFM3_NAMES[module]}.weight", convert_lfm2(name, values, config)))
    full = config["rope_parameters"]["full_attention"]
    turning = int(full["partial_rotary_factor"] * config["head_dim"] // 2)
    divisors = [1.0 if pair < turning else 1e30 for pair in range(config["head_dim"] // 2)]
    out.append(("rope_freqs.weight", np.array(divisors, np.float32)))
    return out


def fill_lfm3(writer, config):
    kinds, kv_heads = layer_types(config), config["num_key_value_heads"]
    rotary = config["rope_parameters"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv([0 if kind == "conv" else kv_heads for kind in kinds])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["norm_eps"])
    writer.add_rope_freq_base(rotary["full_attention"]["rope_theta"])
    writer.add_rope_freq_base_swa(rotary["sliding_attention"]["rope_theta"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in kinds])
    writer.add_shortconv_l_cache(config["conv_L_cache"])
    writer.add_vocab_size(config["vocab_size"])


CONVERTERS = {"lfm2": convert_lfm2}
FILLERS = {"lfm2": fill_lfm2, "lfm3": fill_lfm3}
