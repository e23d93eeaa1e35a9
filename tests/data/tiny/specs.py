"""Which tiny random models there are, and what each is there to catch.

Sizes are such that nothing comes out even: rows that are no multiple of 32, groups of one head,
query widths other than the hidden size. A spec names its architecture and configuration, as a
`config.json` of that architecture spells it, and may say:

- `prefix`: what the tensors of a nemotron_h checkpoint begin with,
- `stored`: tensors, by the end of their names, that the folder holds in BF16,
- `fused`: that the GGUF file holds queries, keys and values in one tensor, as early converters wrote,
- `tensors_per_part`: that there is the GGUF file in parts too, with so many tensors in each,
- `twin`: why there is no GGUF file of the same weights, where GGUF cannot say what the folder says.
"""

LENGTHS = [1, 2, 63, 64, 65, 200, 513]
GREEDY_PROMPT = 65
GREEDY_TOKENS = 16


def prompt(length, vocab_size):
    """The ids that every implementation is asked about; tests/families.rs has the same formula."""
    return [(31 * i * i + 17 * i + 5) % vocab_size for i in range(length)]


# ---------------------------------------------------------------- nemotron_h

LEGACY_TYPES = {"M": "mamba", "*": "attention", "-": "mlp"}
TYPES = {"M": "linear_attention", "*": "full_attention", "-": "mlp"}


def nemotron_h(name, pattern, hidden, heads, groups, head_dim, state, conv=4, spelling="pattern", prefix="backbone.", vocab=296, attention=(4, 2, 16), stored=(), **config):
    """`heads`, `head_dim`: of the mixer; `attention`: query heads, key/value heads, their size."""
    if spelling == "pattern":
        layers = {"hybrid_override_pattern": pattern, "num_hidden_layers": len(pattern)}
    elif spelling == "legacy":
        layers = {"layers_block_type": [LEGACY_TYPES[kind] for kind in pattern], "num_hidden_layers": len(pattern)}
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


# What transformers 5 writes besides when it saves a dense model again.
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
    nemotron_h("nemotron_h-g8x12", "M*-", hidden=56, heads=96, groups=8, head_dim=16, state=16, spelling="legacy"),
    nemotron_h("nemotron_h-g1x12", "M*-", hidden=100, heads=12, groups=1, head_dim=64, state=128, prefix="model."),
    nemotron_h("nemotron_h-g2x3", "M-*", hidden=104, heads=6, groups=2, head_dim=80, state=128, spelling="layers_block_type"),
    # Mixers alone, with one head and the shortest convolution.
    nemotron_h("nemotron_h-g1x1", "MMM", hidden=60, heads=1, groups=1, head_dim=64, state=16, conv=2),
    nemotron_h("nemotron_h-g2x12", "-M*", hidden=40, heads=24, groups=2, head_dim=80, state=64, conv=2),
    nemotron_h("nemotron_h-no_mlp", "M*M*", hidden=68, heads=2, groups=2, head_dim=80, state=128, spelling="layer_types"),
    nemotron_h("nemotron_h-attention_first", "*-M-M", hidden=76, heads=3, groups=1, head_dim=16, state=64, vocab=264),
    nemotron_h("nemotron_h-mlp_first", "-M*-", hidden=72, heads=8, groups=8, head_dim=64, state=128),
    # Another epsilon, query heads wider than the hidden size together.
    nemotron_h("nemotron_h-epsilon", "M*-", hidden=200, heads=6, groups=2, head_dim=64, state=16, attention=(5, 1, 48), layer_norm_epsilon=0.003),
    nemotron_h("nemotron_h-bf16", "M*-", hidden=40, heads=24, groups=8, head_dim=80, state=16, stored=("A_log", ".D", "dt_bias", "conv1d.weight")),
    nemotron_h("nemotron_h-saved_again", "M-*M", hidden=52, heads=3, groups=3, head_dim=16, state=16, spelling="layers_block_type", **SAVED_AGAIN),
    # The pattern of the 4B, in small.
    nemotron_h("nemotron_h-long", "M-M-M-MM-M-M*-M-M*-", hidden=48, heads=6, groups=2, head_dim=16, state=16),
    # Sizes that only a general kernel gets right.
    nemotron_h("nemotron_h-odd", "M*M-", hidden=36, heads=9, groups=3, head_dim=12, state=20, conv=3, prefix="model.", attention=(3, 3, 20)),
]

# ---------------------------------------------------------------- llama

LLAMA3_ROPE = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}


def llama(name, hidden, heads, kv_heads, layers, intermediate, tied=False, vocab=300, **config):
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": intermediate,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": tied,
        "use_cache": True,
        "vocab_size": vocab,
        **config,
    }
    return {"name": name, "config": config}


LLAMA = [
    # As Llama-3.1-Minitron-4B-Width: heads wider than hidden / heads.
    llama("llama-minitron_width", 96, 8, 2, 3, 144, head_dim=32, rope_scaling=LLAMA3_ROPE, rope_theta=500000.0, torch_dtype="float32"),
    # As -Depth: few layers, the size of a head not said.
    llama("llama-minitron_depth", 128, 4, 1, 2, 200, rope_scaling=LLAMA3_ROPE, rope_theta=500000.0, torch_dtype="float32"),
    # As Llama 3.2, in the spelling of transformers 5.
    llama("llama-tied", 128, 2, 1, 2, 96, tied=True, head_dim=64, rope_parameters={**LLAMA3_ROPE, "factor": 32.0, "rope_theta": 500000.0}, dtype="float32"),
    # Biases everywhere, which few have.
    llama("llama-biases", 72, 4, 2, 2, 88, head_dim=24, attention_bias=True, mlp_bias=True, rope_theta=10000.0, torch_dtype="float32"),
    # Each query head with its own keys, positions scaled, rows that are no multiple of 32.
    llama("llama-linear", 60, 3, 3, 2, 100, vocab=261, rope_scaling={"factor": 4.0, "type": "linear"}, rope_theta=10000.0, torch_dtype="float32"),
]

# ---------------------------------------------------------------- qwen2


def qwen2(name, hidden, heads, kv_heads, layers, intermediate, tied, **config):
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": intermediate,
        "max_position_embeddings": 32768,
        "max_window_layers": layers,
        "model_type": "qwen2",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": 1e-06,
        "tie_word_embeddings": tied,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": 300,
        **config,
    }
    return {"name": name, "config": config}


QWEN2 = [
    qwen2("qwen2-tied", 112, 7, 1, 3, 152, True, rope_theta=1000000.0, sliding_window=32768, torch_dtype="float32"),
    qwen2("qwen2-untied", 96, 4, 4, 2, 100, False, rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"}, layer_types=["full_attention"] * 2, sliding_window=None, dtype="float32"),
]

# ---------------------------------------------------------------- gemma

NO_QUERY_SCALE = "GGUF has no key for query_pre_attn_scalar; llama.cpp takes the size of a head"


def gemma2(name, heads, kv_heads, head_dim, query_scale, **spec):
    config = {
        "architectures": ["Gemma2ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        # Small enough to bend what these small models make.
        "attn_logit_softcapping": 4.0,
        "bos_token_id": 1,
        "cache_implementation": "hybrid",
        "eos_token_id": 2,
        "final_logit_softcapping": 5.0,
        "head_dim": head_dim,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 96,
        "initializer_range": 0.02,
        "intermediate_size": 152,
        "max_position_embeddings": 8192,
        "model_type": "gemma2",
        "num_attention_heads": heads,
        "num_hidden_layers": 4,
        "num_key_value_heads": kv_heads,
        "pad_token_id": 0,
        "query_pre_attn_scalar": query_scale,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "sliding_window": 40,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": 300,
    }
    return {"name": name, "config": config, **spec}


GEMMA2 = [
    gemma2("gemma2-window", 4, 2, 32, 32),
    gemma2("gemma2-query_scale", 4, 4, 20, 24, twin=NO_QUERY_SCALE),
]


def gemma3(name, query_scale=32, twin=None, **config):
    config = {
        "architectures": ["Gemma3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "final_logit_softcapping": None,
        "head_dim": 32,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 80,
        "initializer_range": 0.02,
        "intermediate_size": 104,
        "max_position_embeddings": 32768,
        "model_type": "gemma3_text",
        "num_attention_heads": 4,
        "num_hidden_layers": 7,
        "num_key_value_heads": 1,
        "pad_token_id": 0,
        "query_pre_attn_scalar": query_scale,
        "rms_norm_eps": 1e-06,
        "sliding_window": 40,
        "use_cache": True,
        "vocab_size": 300,
        **config,
    }
    return {"name": name, "config": config, **({"twin": twin} if twin else {})}


# Five layers with a window, one without, and one more.
GEMMA3_TYPES = (["sliding_attention"] * 5 + ["full_attention"] + ["sliding_attention"] * 5)[:7]
GEMMA3 = [
    # As the files on the hub spell it.
    gemma3("gemma3-pattern", rope_local_base_freq=10000.0, rope_scaling=None, rope_theta=1000000.0, sliding_window_pattern=6, torch_dtype="float32"),
    # As transformers 5 writes it; the scaling is that of layers without a window.
    gemma3(
        "gemma3-scaled",
        layer_types=GEMMA3_TYPES,
        rope_parameters={
            "full_attention": {"factor": 8.0, "rope_theta": 1000000.0, "rope_type": "linear"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
        },
        dtype="float32",
        tie_word_embeddings=True,
    ),
    gemma3("gemma3-query_scale", 24, NO_QUERY_SCALE, layer_types=GEMMA3_TYPES, rope_local_base_freq=10000.0, rope_scaling={"factor": 8.0, "rope_type": "linear"}, rope_theta=1000000.0, torch_dtype="float32"),
]

# ---------------------------------------------------------------- phi


def phi(name, hidden, heads, layers, fused=False, tensors_per_part=0, **config):
    config = {
        "architectures": ["PhiForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "embd_pdrop": 0.0,
        "eos_token_id": 2,
        "hidden_act": "gelu_new",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": 4 * hidden,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048,
        "model_type": "phi",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "qk_layernorm": False,
        "resid_pdrop": 0.1,
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": 300,
        **config,
    }
    return {"name": name, "config": config, "fused": fused, "tensors_per_part": tensors_per_part}


PHI = [
    # As microsoft/phi-2: 32 of 80 dimensions turn; here 8 of 20.
    phi("phi-partial", 80, 4, 3, num_key_value_heads=4, partial_rotary_factor=0.4, rope_scaling=None, rope_theta=10000.0, torch_dtype="float32"),
    phi("phi-parameters", 64, 2, 2, fused=True, tensors_per_part=9, num_key_value_heads=None, rope_parameters={"partial_rotary_factor": 0.5, "rope_theta": 10000.0, "rope_type": "default"}, dtype="float32"),
]

FAMILIES = {"nemotron_h": NEMOTRON_H, "llama": LLAMA, "qwen2": QWEN2, "gemma2": GEMMA2, "gemma3": GEMMA3, "phi": PHI}
