"""Specifications of the tiny nemotron_h models, in the form that specs.py describes."""

# Words for the kinds of layers, in older and in current configurations.
LEGACY_TYPES = {"M": "mamba", "*": "attention", "-": "mlp"}
TYPES = {"M": "linear_attention", "*": "full_attention", "-": "mlp"}


def nemotron_h(
    name,
    pattern,
    sizes,
    conv=4,
    spelling="pattern",
    prefix="backbone.",
    vocab=296,
    attention=(4, 2, 16),
    bf16_suffixes=(),
    **config
):
    """Returns the specification of a model.

    `sizes`: hidden size, and of the mixers heads, groups, head size and state size; `spelling`: key
    of the configuration that has the pattern, or `legacy` for `layers_block_type` with older words;
    `attention`: query heads, KV heads, head size.
    """
    hidden, heads, groups, head_dim, state = sizes
    if spelling == "pattern":
        layers = {"hybrid_override_pattern": pattern, "num_hidden_layers": len(pattern)}
    elif spelling == "legacy":
        layers = {
            "layers_block_type": [LEGACY_TYPES[kind] for kind in pattern],
            "num_hidden_layers": len(pattern),
        }
    else:
        layers = {spelling: [TYPES[kind] for kind in pattern]}
    config = {
        "architectures": ["NemotronHForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "chunk_size": 32,
        "conv_kernel": conv,
        "eos_token_id": 2,
        "expand": 2,
        "head_dim": attention[2],
        "hidden_dropout": 0.0,
        "hidden_size": hidden,
        **layers,
        "initializer_range": 0.02,
        "intermediate_size": 2 * hidden + 8,
        "layer_norm_epsilon": 1e-05,
        "mamba_head_dim": head_dim,
        "mamba_hidden_act": "silu",
        "mamba_num_heads": heads,
        "mamba_proj_bias": False,
        "max_position_embeddings": 4096,
        "mlp_bias": False,
        "mlp_hidden_act": "relu2",
        "model_type": "nemotron_h",
        "n_groups": groups,
        "num_attention_heads": attention[0],
        "num_key_value_heads": attention[1],
        "num_logits_to_keep": 1,
        "pad_token_id": 0,
        "rescale_prenorm_residual": True,
        "residual_in_fp32": False,
        "ssm_state_size": state,
        "tie_word_embeddings": False,
        "time_step_floor": 0.0001,
        "time_step_limit": [0.0, float("inf")],
        "time_step_max": 0.1,
        "time_step_min": 0.001,
        "torch_dtype": "float32",
        "use_bias": False,
        "use_cache": True,
        "use_conv_bias": True,
        "use_mamba_kernels": True,
        "vocab_size": vocab,
        **config,
    }
    return {"name": name, "prefix": prefix, "bf16_suffixes": bf16_suffixes, "config": config}


# Additional keys that transformers 5 writes when it saves a dense model again.
SAVED_AGAIN = {
    "dtype": "float32",
    "mamba_ssm_cache_dtype": "float32",
    "moe_intermediate_size": 7688,
    "moe_latent_size": None,
    "moe_shared_expert_intermediate_size": 7688,
    "moe_shared_expert_overlap": True,
    "mtp_layers_block_type": ["full_attention", "moe"],
    "n_group": 1,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_experts_per_tok": 2,
    "num_nextn_predict_layers": 0,
    "routed_scaling_factor": 1.0,
    "sliding_window": None,
    "topk_group": 1,
    "transformers_version": "5.23.0",
}

# Name, pattern of layers, sizes, and arguments that are not the default. Names such as g8x3 are
# groups of the mixer × heads per group.
MODELS = [
    ("g8x1", "M-M*-M", (72, 8, 8, 16, 16), {}),
    ("g8x3", "*M-M", (88, 24, 8, 16, 64), {}),
    ("g8x12", "M*-", (56, 96, 8, 16, 16), {"spelling": "legacy"}),
    ("g1x12", "M*-", (100, 12, 1, 64, 128), {"prefix": "model."}),
    ("g2x3", "M-*", (104, 6, 2, 80, 128), {"spelling": "layers_block_type"}),
    # Mixers only, with one head and the shortest convolution.
    ("g1x1", "MMM", (60, 1, 1, 64, 16), {"conv": 2}),
    ("g2x12", "-M*", (40, 24, 2, 80, 64), {"conv": 2}),
    ("no_mlp", "M*M*", (68, 2, 2, 80, 128), {"spelling": "layer_types"}),
    ("attention_first", "*-M-M", (76, 3, 1, 16, 64), {"vocab": 264}),
    ("mlp_first", "-M*-", (72, 8, 8, 64, 128), {}),
    # Another epsilon; the query heads together are wider than the hidden size.
    (
        "epsilon",
        "M*-",
        (200, 6, 2, 64, 16),
        {"attention": (5, 1, 48), "layer_norm_epsilon": 0.003},
    ),
    (
        "bf16",
        "M*-",
        (40, 24, 8, 80, 16),
        {"bf16_suffixes": ("A_log", ".D", "dt_bias", "conv1d.weight")},
    ),
    (
        "saved_again",
        "M-*M",
        (52, 3, 3, 16, 16),
        {"spelling": "layers_block_type", **SAVED_AGAIN},
    ),
    # The first layers of the 4B model.
    ("long", "M-M-M-MM-M-M*-M-M*-", (48, 6, 2, 16, 16), {}),
    # Sizes for which only the general kernels work.
    ("odd", "M*M-", (36, 9, 3, 12, 20), {"conv": 3, "prefix": "model.", "attention": (3, 3, 20)}),
]

NEMOTRON_H = [
    nemotron_h(f"nemotron_h-{name}", pattern, sizes, **arguments)
    for name, pattern, sizes, arguments in MODELS
]
