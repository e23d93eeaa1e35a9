"""Tiny Falcon-H1 models: specifications in the form that specs.py describes, random tensors (see
weights.py), and their form in GGUF (see twins.py)."""

import math

import numpy as np
from granite_hybrid import NAMES as GRANITE_NAMES
from granite_hybrid import fill_mixer, mixer_shape, mixer_sizes, mixer_vector, split_name


def falcon(name, sizes, mixer, conv=4, **spec):
    """`sizes`: hidden size, query heads, KV heads, head size, layers, intermediate size; `mixer`:
    heads, head size, groups, state size."""
    hidden, heads, kv_heads, head_dim, layers, intermediate = sizes
    mamba_heads, mamba_head_dim, groups, state = mixer
    no_twin = {"no_twin": spec.pop("no_twin")} if "no_twin" in spec else {}
    config = {
        "architectures": ["FalconH1ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attention_in_multiplier": 1.25,
        "attention_out_multiplier": 0.7,
        "bos_token_id": 1,
        "embedding_multiplier": 5.656854249492381,
        "eos_token_id": 2,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": intermediate,
        "key_multiplier": 0.6,
        "lm_head_multiplier": 0.0390625,
        "mamba_chunk_size": 128,
        "mamba_conv_bias": True,
        "mamba_d_conv": conv,
        "mamba_d_head": mamba_head_dim,
        "mamba_d_ssm": mamba_heads * mamba_head_dim,
        "mamba_d_state": state,
        "mamba_expand": 2,
        "mamba_n_groups": groups,
        "mamba_n_heads": mamba_heads,
        "mamba_norm_before_gate": False,
        "mamba_proj_bias": False,
        "mamba_rms_norm": False,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "mlp_multipliers": [0.8838834764831844, 0.5859375],
        "model_type": "falcon_h1",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "num_logits_to_keep": 1,
        "pad_token_id": 0,
        "projectors_bias": False,
        "rms_norm_eps": 1e-05,
        "ssm_in_multiplier": 1.5,
        "ssm_multipliers": [0.7, 0.5, 1.3, 0.6, 0.8],
        "ssm_out_multiplier": 0.4,
        "tie_word_embeddings": False,
        "time_step_limit": [0.0, {"__float__": "Infinity"}],
        "use_cache": True,
        "vocab_size": 304,
        **spec,
    }
    return {"name": name, "config": config, **no_twin}


def rope(theta):
    return {"rope_parameters": {"rope_theta": theta, "rope_type": "default"}, "dtype": "float32"}


FALCON_H1 = [
    # Like Falcon-H1 0.5B: no norm in the mixer, one group, a large base frequency.
    falcon("falcon_h1-plain", (96, 4, 2, 32, 3, 144), (6, 24, 1, 64), **rope(100000000000.0)),
    # The keys of transformers 4; a norm of two groups, heads that fill no tile.
    falcon(
        "falcon_h1-norm",
        (72, 3, 1, 20, 2, 100),
        (4, 18, 2, 16),
        conv=2,
        mamba_rms_norm=True,
        rms_norm_eps=0.001,
        rope_scaling=None,
        rope_theta=10000.0,
        torch_dtype="float32",
        vocab_size=272,
    ),
    # A norm before the gate, and every bias but that of the convolution.
    falcon(
        "falcon_h1-biases",
        (80, 5, 5, 16, 2, 88),
        (10, 8, 5, 32),
        attention_bias=True,
        embedding_multiplier=2.0,
        lm_head_multiplier=1.5,
        mamba_conv_bias=False,
        mamba_norm_before_gate=True,
        mamba_proj_bias=True,
        mamba_rms_norm=True,
        mlp_bias=True,
        no_twin="the converter refuses biases of the mixer's input projection",
        projectors_bias=True,
        tie_word_embeddings=True,
        **rope(500000.0),
    ),
    # Mixers of one head, and no factors.
    falcon(
        "falcon_h1-ones",
        (64, 2, 1, 32, 2, 96),
        (1, 48, 1, 24),
        attention_in_multiplier=1.0,
        attention_out_multiplier=1.0,
        embedding_multiplier=1.0,
        key_multiplier=1.0,
        lm_head_multiplier=1.0,
        mlp_multipliers=[1.0, 1.0],
        ssm_in_multiplier=1.0,
        ssm_multipliers=[1.0, 1.0, 1.0, 1.0, 1.0],
        ssm_out_multiplier=1.0,
        **rope(1000000.0),
    ),
]


def draw_falcon(tensors, config):
    from weights import attention, gated, mixer

    hidden, vocab = config["hidden_size"], config["vocab_size"]
    tied, scale = config["tie_word_embeddings"], config["embedding_multiplier"]
    gain = 1.5 if tied else math.sqrt(hidden)
    tensors.matrix("model.embed_tokens.weight", vocab, hidden, gain / scale)
    if not tied:
        tensors.matrix("lm_head.weight", vocab, hidden, 3.0 / config["lm_head_multiplier"])
    tensors.norm("model.final_layernorm.weight", hidden)
    sizes = mixer_sizes(config)
    bias = config["attention_bias"]
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        tensors.norm(f"{layer}.input_layernorm.weight", hidden)
        tensors.norm(f"{layer}.pre_ff_layernorm.weight", hidden)
        mixer(tensors, f"{layer}.mamba", sizes, hidden)
        if not config["mamba_rms_norm"]:
            del tensors[f"{layer}.mamba.norm.weight"]
        if not config["mamba_conv_bias"]:
            del tensors[f"{layer}.mamba.conv1d.bias"]
        for part, flag in (("in_proj", "mamba_proj_bias"), ("out_proj", "projectors_bias")):
            if config[flag]:
                rows = tensors[f"{layer}.mamba.{part}.weight"].shape[0]
                tensors.vector(f"{layer}.mamba.{part}.bias", rows, -0.5, 0.5)
        attention(tensors, f"{layer}.self_attn", config, hidden, bias, output_bias=bias)
        gated(
            tensors,
            f"{layer}.feed_forward",
            hidden,
            config["intermediate_size"],
            config["mlp_bias"],
        )


NAMES = {
    **GRANITE_NAMES,
    "model.final_layernorm": "output_norm",
    "feed_forward.gate_proj": "ffn_gate",
    "feed_forward.up_proj": "ffn_up",
    "feed_forward.down_proj": "ffn_down",
}


def scaled(config, module, values):
    """Multiplies the values of a module by its factors, in the order of the converter."""
    gate, down = config["mlp_multipliers"]
    inputs = config["attention_in_multiplier"]
    factors = {
        "model.embed_tokens": [config["embedding_multiplier"]],
        "lm_head": [config["lm_head_multiplier"]],
        "self_attn.q_proj": [inputs],
        "self_attn.k_proj": [config["key_multiplier"], inputs],
        "self_attn.v_proj": [inputs],
        "self_attn.o_proj": [config["attention_out_multiplier"]],
        "mamba.in_proj": [config["ssm_in_multiplier"]],
        "mamba.out_proj": [config["ssm_out_multiplier"]],
        "feed_forward.gate_proj": [gate],
        "feed_forward.down_proj": [down],
    }
    for factor in factors.get(module, []):
        values = values * np.float32(factor)
    if module == "mamba.in_proj":
        inner, groups = config["mamba_d_ssm"], config["mamba_n_groups"]
        group_rows = groups * config["mamba_d_state"]
        rows = [inner, inner, group_rows, group_rows, config["mamba_n_heads"]]
        parts = np.split(values, np.cumsum(rows)[:-1])
        factors = config["ssm_multipliers"]
        values = np.concatenate(
            [part * np.float32(factor) for part, factor in zip(parts, factors, strict=True)]
        )
    return values


def falcon_tensors(config, weights):
    """Returns (name, values) of the twin's tensors."""
    out = []
    for name, values in weights.items():
        prefix, module, kind = split_name(name)
        if module == "mamba":
            name, values = mixer_vector(kind, values)
            out.append((prefix + name, values))
        elif module == "pre_ff_layernorm":
            out.append((f"{prefix}ffn_norm", values))
        else:
            values = mixer_shape(config, module, values)
            values = scaled(config, module, values)
            out.append((f"{prefix}{NAMES[module]}.{kind}", values))
    return out


def fill_falcon(writer, config):
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_freq_base(theta)
    fill_mixer(writer, config, config["mamba_d_ssm"])
