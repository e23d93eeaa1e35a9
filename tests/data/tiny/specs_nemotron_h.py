"""Specifications of the tiny nemotron_h models; see specs.py."""

LEGACY_TYPES = {"M": "mamba", "*": "attention", "-": "mlp"}
TYPES = {"M": "linear_attention", "*": "full_attention", "-": "mlp"}


def nemotron_h(
    name,
    pattern,
    hidden,
    heads,
    groups,
    head_dim,
    state,
    conv=4,
    spelling="pattern",
    prefix="backbone.",
    vocab=296,
    attention=(4, 2, 16),
    stored=(),
    **config
):
    """`heads`, `head_dim`: of the mixer; `attention`: query heads, KV heads, head size."""
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
    return {"name": name, "prefix": prefix, "stored": stored, "config": config}


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

NEMOTRON_H = [
    nemotron_h("nemotron_h-g8x1", "M-M*-M", hidden=72, heads=8, groups=8, head_dim=16, state=16),
    nemotron_h("nemotron_h-g8x3", "*M-M", hidden=88, heads=24, groups=8, head_dim=16, state=64),
    nemotron_h(
        "nemotron_h-g8x12",
        "M*-",
        hidden=56,
        heads=96,
        groups=8,
        head_dim=16,
        state=16,
        spelling="legacy",
    ),
    nemotron_h(
        "nemotron_h-g1x12",
        "M*-",
        hidden=100,
        heads=12,
        groups=1,
        head_dim=64,
        state=128,
        prefix="model.",
    ),
    nemotron_h(
        "nemotron_h-g2x3",
        "M-*",
        hidden=104,
        heads=6,
        groups=2,
        head_dim=80,
        state=128,
        spelling="layers_block_type",
    ),
    # Mixers only, with one head and the shortest convolution.
    nemotron_h(
        "nemotron_h-g1x1", "MMM", hidden=60, heads=1, groups=1, head_dim=64, state=16, conv=2
    ),
    nemotron_h(
        "nemotron_h-g2x12", "-M*", hidden=40, heads=24, groups=2, head_dim=80, state=64, conv=2
    ),
    nemotron_h(
        "nemotron_h-no_mlp",
        "M*M*",
        hidden=68,
        heads=2,
        groups=2,
        head_dim=80,
        state=128,
        spelling="layer_types",
    ),
    nemotron_h(
        "nemotron_h-attention_first",
        "*-M-M",
        hidden=76,
        heads=3,
        groups=1,
        head_dim=16,
        state=64,
        vocab=264,
    ),
    nemotron_h(
        "nemotron_h-mlp_first", "-M*-", hidden=72, heads=8, groups=8, head_dim=64, state=128
    ),
    # Another epsilon; the query heads together are wider than the hidden size.
    nemotron_h(
        "nemotron_h-epsilon",
        "M*-",
        hidden=200,
        heads=6,
        groups=2,
        head_dim=64,
        state=16,
        attention=(5, 1, 48),
        layer_norm_epsilon=0.003,
    ),
    nemotron_h(
        "nemotron_h-bf16",
        "M*-",
        hidden=40,
        heads=24,
        groups=8,
        head_dim=80,
        state=16,
        stored=("A_log", ".D", "dt_bias", "conv1d.weight"),
    ),
    nemotron_h(
        "nemotron_h-saved_again",
        "M-*M",
        hidden=52,
        heads=3,
        groups=3,
        head_dim=16,
        state=16,
        spelling="layers_block_type",
        **SAVED_AGAIN
    ),
    # The beginning of the 4B model's pattern.
    nemotron_h(
        "nemotron_h-long",
        "M-M-M-MM-M-M*-M-M*-",
        hidden=48,
        heads=6,
        groups=2,
        head_dim=16,
        state=16,
    ),
    # Sizes that need a general kernel.
    nemotron_h(
        "nemotron_h-odd",
        "M*M-",
        hidden=36,
        heads=9,
        groups=3,
        head_dim=12,
        state=20,
        conv=3,
        prefix="model.",
        attention=(3, 3, 20),
    ),
]
