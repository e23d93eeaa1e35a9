"""Tiny Granite 4 models with Mamba-2 mixers: specifications in the form that specs.py describes,
random tensors (see weights.py), and their form in GGUF (see twins.py)."""

import math

import numpy as np


def granite(name, kinds, sizes, mixer, conv=4, **spec):
    """`kinds`: type of each layer; `sizes`: hidden size, query heads, KV heads, intermediate size;
    `mixer`: heads, groups, state size."""
    hidden, heads, kv_heads, intermediate = sizes
    mamba_heads, groups, state = mixer
    no_twin = {"no_twin": spec.pop("no_twin")} if "no_twin" in spec else {}
    config = {
        "architectures": ["GraniteMoeHybridForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attention_multiplier": 0.2,
        "bos_token_id": 1,
        "embedding_multiplier": 12,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.1,
        "intermediate_size": intermediate,
        "layer_types": kinds,
        "logits_scaling": 3,
        "mamba_chunk_size": 256,
        "mamba_conv_bias": True,
        "mamba_d_conv": conv,
        "mamba_d_head": 2 * hidden // mamba_heads,
        "mamba_d_state": state,
        "mamba_expand": 2,
        "mamba_n_groups": groups,
        "mamba_n_heads": mamba_heads,
        "mamba_proj_bias": False,
        "max_position_embeddings": 131072,
        "model_type": "granitemoehybrid",
        "num_attention_heads": heads,
        "num_experts_per_tok": 0,
        "num_hidden_layers": len(kinds),
        "num_key_value_heads": kv_heads,
        "num_local_experts": 0,
        "output_router_logits": False,
        "position_embedding_type": "nope",
        "residual_multiplier": 0.22,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000,
        "shared_intermediate_size": intermediate,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": 296,
        **spec,
    }
    return {"name": name, "config": config, **no_twin}


GRANITE_HYBRID = [
    # Words for layers as in files on the hub; a group of the mixer, as in all of these.
    granite(
        "granitehybrid-hub",
        ["mamba", "mamba", "attention", "mamba"],
        (96, 4, 2, 100),
        (6, 1, 64),
        torch_dtype="float32",
    ),
    # Groups, one KV head, an output matrix.
    granite(
        "granitehybrid-groups",
        ["attention", "mamba", "attention"],
        (80, 5, 1, 72),
        (10, 5, 16),
        attention_multiplier=0.25,
        embedding_multiplier=3.5,
        logits_scaling=0.7,
        rms_norm_eps=0.001,
        tie_word_embeddings=False,
        vocab_size=264,
    ),
    # Mixers of one head, the shortest convolution.
    granite(
        "granitehybrid-head",
        ["mamba", "attention"],
        (60, 3, 3, 88),
        (1, 1, 32),
        conv=2,
        residual_multiplier=1.0,
    ),
    # Words of transformers 5, and attention alone, with positions.
    granite(
        "granitehybrid-attention",
        ["full_attention", "full_attention"],
        (64, 4, 2, 100),
        (4, 1, 16),
        dtype="float32",
        no_twin="the converter makes a granite of it",
        position_embedding_type="rope",
        rope_parameters={"rope_theta": 10000.0, "rope_type": "default"},
    ),
]


def is_mixer(kind):
    return kind in ("mamba", "linear_attention")


def mixer_sizes(config):
    """Returns the mixer's sizes by the names of Nemotron-H."""
    return {
        "mamba_num_heads": config["mamba_n_heads"],
        "mamba_head_dim": config["mamba_d_head"],
        "n_groups": config["mamba_n_groups"],
        "ssm_state_size": config["mamba_d_state"],
        "conv_kernel": config["mamba_d_conv"],
    }


def split_name(name):
    """Returns the twin's prefix for the layer of a tensor, its module, and the last word."""
    prefix = ""
    if name.startswith("model.layers."):
        _, _, layer, name = name.split(".", 3)
        prefix = f"blk.{layer}."
    module, _, kind = name.rpartition(".")
    return prefix, module, kind


def mixer_vector(kind, values):
    """Returns name and values in the twin of a vector of a mixer."""
    return {
        "A_log": ("ssm_a", -np.exp(values).reshape(-1, 1)),
        "D": ("ssm_d", values.reshape(-1, 1)),
        "dt_bias": ("ssm_dt.bias", values),
    }[kind]


def mixer_shape(config, module, values):
    """Returns the values of a module in the shape that the twin has."""
    if module == "mamba.conv1d":
        return values.squeeze()
    if module == "mamba.norm":
        return values.reshape(config["mamba_n_groups"], -1)
    return values


def fill_mixer(writer, config, inner):
    writer.add_ssm_conv_kernel(config["mamba_d_conv"])
    writer.add_ssm_state_size(config["mamba_d_state"])
    writer.add_ssm_group_count(config["mamba_n_groups"])
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_time_step_rank(config["mamba_n_heads"])


def draw_granite(tensors, config):
    from weights import attention, mixer

    hidden, vocab = config["hidden_size"], config["vocab_size"]
    tied, intermediate = config["tie_word_embeddings"], config["shared_intermediate_size"]
    scale = config["embedding_multiplier"]
    gain = 1.5 if tied else math.sqrt(hidden)
    tensors.matrix("model.embed_tokens.weight", vocab, hidden, gain / scale)
    if not tied:
        tensors.matrix("lm_head.weight", vocab, hidden, 3.0)
    # The last norm compensates for a small embedding.
    tensors.norm("model.norm.weight", hidden, scale if tied else 1.0)
    sizes = mixer_sizes(config)
    for index, kind in enumerate(config["layer_types"]):
        layer = f"model.layers.{index}"
        tensors.norm(f"{layer}.input_layernorm.weight", hidden)
        tensors.norm(f"{layer}.post_attention_layernorm.weight", hidden)
        if is_mixer(kind):
            mixer(tensors, f"{layer}.mamba", sizes, hidden)
        else:
            attention(tensors, f"{layer}.self_attn", config, hidden)
        tensors.linear(f"{layer}.shared_mlp.input_linear", 2 * intermediate, hidden)
        tensors.linear(f"{layer}.shared_mlp.output_linear", hidden, intermediate, 2.0)


NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mamba.in_proj": "ssm_in",
    "mamba.conv1d": "ssm_conv1d",
    "mamba.norm": "ssm_norm",
    "mamba.out_proj": "ssm_out",
    "shared_mlp.output_linear": "ffn_down",
}


def granite_tensors(config, weights, adjacent_pairs):
    """Returns (name, values) of the twin's tensors; `adjacent_pairs` reorders the rows of heads."""
    out = []
    for name, values in weights.items():
        prefix, module, kind = split_name(name)
        if module == "mamba":
            name, values = mixer_vector(kind, values)
            out.append((prefix + name, values))
        elif module == "shared_mlp.input_linear":
            gate, up = np.split(values, 2)
            out.append((f"{prefix}ffn_gate.weight", gate))
            out.append((f"{prefix}ffn_up.weight", up))
        else:
            values = mixer_shape(config, module, values)
            if module == "self_attn.q_proj":
                values = adjacent_pairs(values, config["num_attention_heads"])
            if module == "self_attn.k_proj":
                values = adjacent_pairs(values, config["num_key_value_heads"])
            out.append((f"{prefix}{NAMES[module]}.{kind}", values))
    return out


def fill_granite(writer, config):
    kv_heads = config["num_key_value_heads"]
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv([0 if is_mixer(kind) else kv_heads for kind in config["layer_types"]])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_scaling_finetuned(False)
    writer.add_attention_scale(config["attention_multiplier"])
    writer.add_embedding_scale(config["embedding_multiplier"])
    writer.add_residual_scale(config["residual_multiplier"])
    writer.add_logit_scale(config["logits_scaling"])
    writer.add_expert_count(0)
    writer.add_expert_used_count(0)
    writer.add_expert_shared_feed_forward_length(config["shared_intermediate_size"])
    fill_mixer(writer, config, 2 * config["hidden_size"])
