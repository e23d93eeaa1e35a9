"""Specifications of the tiny LFM models, in the form that specs.py describes."""


def lfm2(name, sizes, **config):
    """`sizes`: hidden size, query heads, KV heads, layers."""
    hidden, heads, kv_heads, layers = sizes
    config = {
        "architectures": ["Lfm2ForCausalLM"],
        "bos_token_id": 1,
        "conv_bias": False,
        "eos_token_id": 2,
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "max_position_embeddings": 128000,
        "model_type": "lfm2",
        "norm_eps": 1e-05,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "pad_token_id": 0,
        "use_cache": True,
        "vocab_size": 300,
        **config,
    }
    return {"name": name, "config": config}


LFM2 = [
    # Keys as in the first files on the hub; heads whose norms do not fuse.
    lfm2(
        "lfm2-indices",
        (80, 4, 1, 5),
        block_auto_adjust_ff_dim=True,
        block_dim=80,
        block_ff_dim=200,
        block_ffn_dim_multiplier=1.0,
        block_mlp_init_scale=1.0,
        block_multiple_of=24,
        block_norm_eps=1e-05,
        block_out_init_scale=1.0,
        block_use_swiglu=True,
        block_use_xavier_init=True,
        conv_L_cache=3,
        conv_dim=80,
        conv_dim_out=80,
        conv_use_xavier_init=True,
        full_attn_idxs=[2, 4],
        num_heads=4,
        rope_theta=1000000.0,
        torch_dtype="float32",
        use_pos_enc=True,
    ),
    # Keys of transformers 5, like LFM2.5.
    lfm2(
        "lfm2-types",
        (96, 6, 2, 4),
        block_auto_adjust_ff_dim=False,
        block_ffn_dim_multiplier=1.0,
        block_multiple_of=256,
        conv_L_cache=3,
        dtype="float32",
        intermediate_size=100,
        layer_types=["conv", "full_attention", "conv", "full_attention"],
        rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"},
        tie_word_embeddings=True,
        vocab_size=261,
    ),
    # Attention first, a wide convolution, an output matrix, and a multiplier.
    lfm2(
        "lfm2-untied",
        (100, 5, 5, 4),
        block_auto_adjust_ff_dim=True,
        block_ffn_dim_multiplier=1.3,
        block_multiple_of=8,
        conv_L_cache=7,
        dtype="float32",
        intermediate_size=197,
        layer_types=["full_attention", "conv", "conv", "full_attention"],
        norm_eps=0.001,
        rope_parameters={"rope_theta": 10000.0, "rope_type": "default"},
        tie_word_embeddings=False,
    ),
    # The shortest convolution, heads of 64, and a multiplier that is an integer.
    lfm2(
        "lfm2-narrow",
        (128, 2, 1, 3),
        block_auto_adjust_ff_dim=True,
        block_ff_dim=160,
        block_ffn_dim_multiplier=1,
        block_multiple_of=20,
        conv_L_cache=2,
        layer_types=["conv", "full_attention", "conv"],
        rope_theta=1000000.0,
        tie_embedding=True,
        torch_dtype="float32",
    ),
]


def lfm3(name, sizes, **config):
    """`sizes`: hidden size, query heads, KV heads, head size, layers."""
    hidden, heads, kv_heads, head_dim, layers = sizes
    config = {
        "architectures": ["Lfm3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "conv_L_cache": 7,
        "conv_bias": False,
        "dtype": "float32",
        "eos_token_id": 2,
        "head_dim": head_dim,
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": 100,
        "max_position_embeddings": 128000,
        "model_type": "lfm3",
        "norm_eps": 1e-05,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "pad_token_id": 0,
        "rope_parameters": {
            "full_attention": {
                "partial_rotary_factor": 0.5,
                "rope_theta": 1000000.0,
                "rope_type": "proportional",
            },
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
        },
        "sliding_window": 40,
        "tie_word_embeddings": True,
        "use_attention_gate": True,
        "use_cache": True,
        "use_sandwich_norm": True,
        "vocab_size": 300,
        **config,
    }
    return {"name": name, "config": config}


LFM3 = [
    # The default pattern of layers; a number of gates that is no multiple of four.
    lfm3("lfm3-pattern", (96, 6, 2, 16, 7)),
    # Attention first, heads wider than the hidden size, a short window, no norms after layers.
    lfm3(
        "lfm3-plain",
        (80, 4, 1, 32, 5),
        conv_L_cache=3,
        intermediate_size=88,
        layer_types=[
            "sliding_attention",
            "conv",
            "full_attention",
            "sliding_attention",
            "conv",
        ],
        norm_eps=0.001,
        sliding_window=9,
        tie_word_embeddings=False,
        use_sandwich_norm=False,
    ),
    # No gates; heads whose norms do not fuse; another share of turning pairs.
    lfm3(
        "lfm3-ungated",
        (72, 5, 5, 20, 4),
        layer_types=["conv", "full_attention", "sliding_attention", "conv"],
        rope_parameters={
            "full_attention": {
                "partial_rotary_factor": 0.25,
                "rope_theta": 500000.0,
                "rope_type": "proportional",
            },
            "sliding_attention": {"rope_theta": 20000.0, "rope_type": "default"},
        },
        use_attention_gate=False,
        vocab_size=261,
    ),
    # One key/value head for many query heads, and gates without other features.
    lfm3(
        "lfm3-heads",
        (104, 12, 1, 16, 3),
        conv_L_cache=4,
        layer_types=["full_attention", "conv", "full_attention"],
        use_sandwich_norm=False,
    ),
]
