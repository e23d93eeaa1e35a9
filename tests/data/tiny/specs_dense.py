"""Specifications of tiny random models with Llama's layers and additions to them, see specs.py.

Configurations have the keys that transformers 5.24 writes, and one of each family has those of
transformers 4.
"""


def decoder(architecture, model_type, name, sizes, **config):
    """`sizes`: hidden size, query heads, KV heads, layers, intermediate size."""
    hidden, heads, kv_heads, layers, intermediate = sizes
    config = {
        "architectures": [architecture],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": intermediate,
        "max_position_embeddings": 32768,
        "model_type": model_type,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": 1e-06,
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": 300,
        **config,
    }
    return {"name": name, "config": config}


def rope(theta):
    """The rotary positions in the keys of transformers 5."""
    return {"rope_parameters": {"rope_theta": theta, "rope_type": "default"}, "dtype": "float32"}


# ---------------------------------------------------------------- qwen3


def qwen3(name, sizes, head_dim, **config):
    return decoder(
        "Qwen3ForCausalLM",
        "qwen3",
        name,
        sizes,
        head_dim=head_dim,
        layer_types=["full_attention"] * sizes[3],
        max_window_layers=28,
        sliding_window=None,
        use_sliding_window=False,
        **config,
    )


QWEN3 = [
    # Like Qwen3 0.6B: tied, heads wider than hidden / heads.
    qwen3("qwen3-tied", (96, 4, 2, 3, 144), 32, tie_word_embeddings=True, **rope(1000000.0)),
    # Heads that the fused norm cannot take, and an output matrix.
    qwen3("qwen3-narrow", (72, 3, 1, 2, 100), 20, vocab_size=261, **rope(1000000.0)),
    # Biases, and the keys of transformers 4.
    qwen3(
        "qwen3-biases",
        (80, 4, 4, 2, 88),
        64,
        attention_bias=True,
        rope_scaling=None,
        rope_theta=10000.0,
        torch_dtype="float32",
    ),
]

# ---------------------------------------------------------------- smollm3


def smollm3(name, sizes, **config):
    return decoder(
        "SmolLM3ForCausalLM",
        "smollm3",
        name,
        sizes,
        layer_types=["full_attention"] * sizes[3],
        mlp_bias=False,
        pad_token_id=0,
        sliding_window=None,
        use_sliding_window=False,
        **config,
    )


NO_ROTATION = "llama.cpp takes every fourth layer, whatever the configuration says"

SMOLLM3 = [
    # Like the 3B model: every fourth layer is without rotation.
    smollm3(
        "smollm3-default",
        (96, 4, 2, 5, 144),
        no_rope_layer_interval=4,
        no_rope_layers=[1, 1, 1, 0, 1],
        tie_word_embeddings=True,
        **rope(2000000.0),
    ),
    # The keys of transformers 4, without a list.
    smollm3(
        "smollm3-interval",
        (60, 3, 1, 4, 100),
        no_rope_layer_interval=4,
        rope_scaling=None,
        rope_theta=5000000.0,
        torch_dtype="float32",
    ),
    {
        **smollm3(
            "smollm3-list",
            (64, 4, 4, 3, 88),
            no_rope_layer_interval=4,
            no_rope_layers=[0, 1, 0],
            **rope(10000.0),
        ),
        "no_twin": NO_ROTATION,
    },
]

# ---------------------------------------------------------------- granite


def granite(name, sizes, multipliers, **config):
    """`multipliers`: of embedding, residual and attention scores; divisor of the logits."""
    embedding, residual, attention, logits = multipliers
    return decoder(
        "GraniteForCausalLM",
        "granite",
        name,
        sizes,
        attention_multiplier=attention,
        embedding_multiplier=embedding,
        logits_scaling=logits,
        mlp_bias=False,
        residual_multiplier=residual,
        **config,
    )


GRANITE = [
    # As Granite 4.1 3B in all but the numbers.
    granite(
        "granite-tied",
        (96, 6, 2, 3, 144),
        (4.0, 0.5, 0.125, 2.0),
        tie_word_embeddings=True,
        **rope(10000000.0),
    ),
    # The keys of transformers 4.
    granite(
        "granite-untied",
        (72, 3, 3, 2, 100),
        (6.0, 0.5, 0.25, 0.5),
        rope_scaling=None,
        rope_theta=10000.0,
        torch_dtype="float32",
    ),
    granite(
        "granite-biases",
        (64, 4, 1, 2, 88),
        (1.0, 1.0, 0.3, 3.0),
        attention_bias=True,
        **rope(10000.0),
    ),
]

# ---------------------------------------------------------------- phi3


def phi3(name, sizes, rope_parameters, **config):
    """`rope_parameters` are completed by the base frequency."""
    return decoder(
        "Phi3ForCausalLM",
        "phi3",
        name,
        sizes,
        embd_pdrop=0.0,
        pad_token_id=0,
        resid_pdrop=0.0,
        rope_parameters={"rope_theta": 10000.0, **rope_parameters},
        dtype="float32",
        **config,
    )


def longrope(pairs, original_context, **parameters):
    """Scaling by divisors that differ for each pair."""
    return {
        "long_factor": [1.0 + 0.75 * pair for pair in range(pairs)],
        "original_max_position_embeddings": original_context,
        "rope_type": "longrope",
        "short_factor": [1.0 + 0.125 * pair for pair in range(pairs)],
        **parameters,
    }


PHI3 = [
    # Like Phi-4-mini in a short context: heads that rotate in part.
    phi3(
        "phi3-partial",
        (128, 4, 2, 3, 144),
        longrope(12, 1024, partial_rotary_factor=0.75),
        max_position_embeddings=4096,
        original_max_position_embeddings=1024,
        sliding_window=None,
        tie_word_embeddings=True,
    ),
    # Like Phi-3.5-mini in a long context: tests take more positions than the original ones.
    {
        **phi3(
            "phi3-long",
            (96, 3, 3, 2, 100),
            longrope(16, 400),
            max_position_embeddings=4096,
            original_max_position_embeddings=400,
            sliding_window=2047,
        ),
        "beyond_original_context": True,
    },
    {
        **phi3(
            "phi3-window",
            (64, 4, 1, 3, 88),
            {"rope_type": "default"},
            max_position_embeddings=4096,
            original_max_position_embeddings=4096,
            sliding_window=40,
        ),
        "no_twin": "llama.cpp ignores the window",
    },
]

# ---------------------------------------------------------------- mistral3


def mistral3(name, sizes, head_dim, yarn, **config):
    return decoder(
        "Ministral3ForCausalLM",
        "ministral3",
        name,
        sizes,
        head_dim=head_dim,
        rope_parameters={"rope_type": "yarn", "type": "yarn", **yarn},
        sliding_window=None,
        dtype="float32",
        **config,
    )


def yarn(factor, original_context, **parameters):
    """YaRN scaling, with a growth of queries over positions that the prompts reach."""
    return {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": factor,
        "llama_4_scaling_beta": 0.1,
        "max_position_embeddings": 32768,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": original_context,
        "rope_theta": 1000000.0,
        **parameters,
    }


MISTRAL3 = [
    # Like Ministral 3 3B, with a short original context.
    mistral3("mistral3-tied", (96, 4, 2, 3, 144), 32, yarn(16.0, 64), tie_word_embeddings=True),
    mistral3("mistral3-untied", (72, 3, 1, 2, 100), 24, yarn(4.0, 100, mscale_all_dim=0.5)),
    # A context that ends before queries grow.
    mistral3("mistral3-short", (64, 4, 4, 2, 88), 16, yarn(8.0, 4096, beta_fast=4.0)),
]

# ---------------------------------------------------------------- olmo


def olmo2(name, sizes, **config):
    return decoder("Olmo2ForCausalLM", "olmo2", name, sizes, pad_token_id=0, **config)


def olmo3(name, sizes, full_attention, **config):
    """`full_attention`: scaling of the positions in layers without a window."""
    theta = {"rope_theta": 500000.0}
    kinds = ["sliding_attention"] * 3 + ["full_attention"]
    return decoder(
        "Olmo3ForCausalLM",
        "olmo3",
        name,
        sizes,
        layer_types=(2 * kinds)[: sizes[3]],
        pad_token_id=0,
        rope_parameters={
            "full_attention": {**theta, **full_attention},
            "sliding_attention": {**theta, "rope_type": "default"},
        },
        sliding_window=40,
        dtype="float32",
        **config,
    )


OLMO2 = [
    olmo2("olmo2-plain", (96, 3, 3, 2, 144), **rope(500000.0)),
    # The keys of transformers 4, biases, fewer key heads.
    olmo2(
        "olmo2-biases",
        (72, 6, 2, 2, 100),
        attention_bias=True,
        rope_scaling=None,
        rope_theta=10000.0,
        torch_dtype="float32",
    ),
    olmo3("olmo3-window", (80, 5, 1, 5, 88), {"rope_type": "default"}),
    # Like OLMo 3 7B.
    olmo3(
        "olmo3-yarn",
        (64, 4, 4, 4, 88),
        {
            "attention_factor": 1.2079441541679836,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "factor": 8.0,
            "original_max_position_embeddings": 100,
            "rope_type": "yarn",
        },
        max_position_embeddings=800,
    ),
]

# ---------------------------------------------------------------- exaone4


def exaone4(name, sizes, window, **config):
    """`window`: the sliding window of three of four layers, or none."""
    kinds = (["sliding_attention"] * 3 + ["full_attention"]) * sizes[3]
    kinds = kinds[: sizes[3]] if window else ["full_attention"] * sizes[3]
    return decoder(
        "Exaone4ForCausalLM",
        "exaone4",
        name,
        sizes,
        layer_types=kinds,
        rms_norm_eps=1e-05,
        sliding_window=window,
        sliding_window_pattern="LLLG" if window else None,
        **config,
    )


def llama3_rope(factor):
    return {
        "factor": factor,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    }


EXAONE4 = [
    # Like EXAONE 4 1.2B: no windows.
    exaone4(
        "exaone4-plain",
        (96, 3, 1, 3, 144),
        None,
        dtype="float32",
        rope_parameters={**llama3_rope(16.0), "rope_theta": 1000000.0},
        tie_word_embeddings=True,
    ),
    # Like the 32B model, with its number of layers, by which llama.cpp knows it.
    exaone4(
        "exaone4-deep",
        (32, 2, 1, 64, 48),
        40,
        dtype="float32",
        rope_parameters={**llama3_rope(16.0), "rope_theta": 1000000.0},
    ),
    # The keys of transformers 4, heads wider than the hidden size.
    {
        **exaone4(
            "exaone4-window",
            (80, 5, 5, 6, 88),
            40,
            head_dim=20,
            rope_scaling=llama3_rope(8.0),
            rope_theta=500000.0,
            torch_dtype="float32",
        ),
        "no_llamacpp": "llama.cpp has windows only in models of 64 layers",
    },
]

# ---------------------------------------------------------------- ernie


def ernie(name, sizes, head_dim, **config):
    config = {
        "architectures": ["Ernie4_5ForCausalLM"],
        "head_dim": head_dim,
        "pad_token_id": 0,
        "rms_norm_eps": 1e-05,
        "use_bias": False,
        **config,
    }
    return decoder("Ernie4_5ForCausalLM", "ernie4_5", name, sizes, **config)


ERNIE4_5 = [
    # Like ERNIE 4.5 0.3B.
    ernie("ernie4_5-tied", (96, 4, 2, 3, 144), 32, tie_word_embeddings=True, **rope(500000.0)),
    # The keys of the first files on the hub.
    ernie(
        "ernie4_5-untied",
        (72, 3, 1, 2, 100),
        20,
        architectures=["Ernie4_5_ForCausalLM"],
        compression_ratio=1.0,
        rope_scaling=None,
        rope_theta=10000.0,
        torch_dtype="float32",
    ),
    ernie("ernie4_5-biases", (64, 4, 4, 2, 88), 16, use_bias=True, **rope(10000.0)),
]

# ---------------------------------------------------------------- hunyuan


def hunyuan(name, sizes, head_dim, **config):
    return decoder(
        "HunYuanDenseV1ForCausalLM",
        "hunyuan_v1_dense",
        name,
        sizes,
        head_dim=head_dim,
        pad_token_id=0,
        rms_norm_eps=1e-05,
        **config,
    )


HUNYUAN = [
    # Like Hunyuan 0.5B, with a base frequency that alpha raises.
    hunyuan(
        "hunyuan-tied",
        (96, 4, 2, 3, 144),
        32,
        dtype="float32",
        rope_parameters={
            "alpha": 1000.0,
            "beta_fast": 32,
            "beta_slow": 1,
            "factor": 1.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "rope_theta": 10000.0,
            "rope_type": "dynamic",
        },
        tie_word_embeddings=True,
    ),
    # The keys of transformers 4.
    hunyuan(
        "hunyuan-untied",
        (72, 3, 1, 2, 100),
        20,
        rope_scaling={"alpha": 50.0, "factor": 1.0, "type": "dynamic"},
        rope_theta=10000.0,
        torch_dtype="float32",
        vocab_size=261,
    ),
    hunyuan("hunyuan-plain", (64, 4, 4, 2, 88), 16, **rope(500000.0)),
]
