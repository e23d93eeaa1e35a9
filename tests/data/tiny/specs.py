"""Specifications of the tiny random models, and the case that each one tests.

Sizes are irregular on purpose: rows that are not a multiple of 32, groups of one head, query widths
other than the hidden size. A spec has a name and a configuration, as in a `config.json` of its
architecture, and optionally:

- `prefix`: prefix of the tensor names of a nemotron_h checkpoint,
- `bf16_suffixes`: suffixes of the names of tensors that the folder stores in BF16,
- `fused`: queries, keys and values are one tensor in the GGUF file, as early converters wrote it,
- `tensors_per_part`: the GGUF file also exists in parts with this number of tensors each,
- `beyond_original_context`: the reference takes LongRoPE's divisors for long contexts,
- `pre`: name of the pre-tokenizer in the GGUF file,
- `no_twin`: the reason why there is no GGUF file: GGUF cannot represent the configuration,
- `no_llamacpp`: the reason why llama.cpp computes something else from the GGUF file.
"""

from falcon_h1 import FALCON_H1
from granite_hybrid import GRANITE_HYBRID
from specs_dense import (
    ERNIE4_5,
    EXAONE4,
    GRANITE,
    HUNYUAN,
    MISTRAL3,
    OLMO2,
    PHI3,
    QWEN3,
    SMOLLM3,
)
from specs_lfm import LFM2, LFM3
from specs_nemotron_h import NEMOTRON_H

LENGTHS = [1, 2, 63, 64, 65, 200, 513]
GREEDY_PROMPT = 65
GREEDY_TOKENS = 16


def prompt(length, vocab_size):
    """Returns the prompt's ids; tests/families.rs and make_llamacpp.mjs have the same formula."""
    return [(31 * i * i + 17 * i + 5) % vocab_size for i in range(length)]


# ---------------------------------------------------------------- llama

LLAMA3_ROPE = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}


def llama(name, sizes, tied=False, vocab=300, **config):
    """`sizes`: hidden size, query heads, KV heads, layers, intermediate size."""
    hidden, heads, kv_heads, layers, intermediate = sizes
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
    # Like Llama-3.1-Minitron-4B-Width: heads wider than hidden / heads.
    llama(
        "llama-minitron_width",
        (96, 8, 2, 3, 144),
        head_dim=32,
        rope_scaling=LLAMA3_ROPE,
        rope_theta=500000.0,
        torch_dtype="float32",
    ),
    # Like Llama-3.1-Minitron-4B-Depth: few layers, no explicit head size.
    llama(
        "llama-minitron_depth",
        (128, 4, 1, 2, 200),
        rope_scaling=LLAMA3_ROPE,
        rope_theta=500000.0,
        torch_dtype="float32",
    ),
    # Like Llama 3.2, with keys of transformers 5.
    llama(
        "llama-tied",
        (128, 2, 1, 2, 96),
        tied=True,
        head_dim=64,
        rope_parameters={**LLAMA3_ROPE, "factor": 32.0, "rope_theta": 500000.0},
        dtype="float32",
    ),
    # Biases everywhere, which is rare.
    llama(
        "llama-biases",
        (72, 4, 2, 2, 88),
        head_dim=24,
        attention_bias=True,
        mlp_bias=True,
        rope_theta=10000.0,
        torch_dtype="float32",
    ),
    # Like MiniCPM5 1B.
    {
        **llama(
            "llama-minicpm5",
            (96, 4, 2, 3, 144),
            head_dim=32,
            dtype="float32",
            rope_parameters={"rope_theta": 5000000.0, "rope_type": "default"},
        ),
        "pre": "minicpm5",
    },
    # A key/value head per query head, scaled positions, rows that are not a multiple of 32.
    llama(
        "llama-linear",
        (60, 3, 3, 2, 100),
        vocab=261,
        rope_scaling={"factor": 4.0, "type": "linear"},
        rope_theta=10000.0,
        torch_dtype="float32",
    ),
]

# ---------------------------------------------------------------- qwen2


def qwen2(name, sizes, tied, **config):
    """`sizes`: hidden size, query heads, KV heads, layers, intermediate size."""
    hidden, heads, kv_heads, layers, intermediate = sizes
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
    qwen2(
        "qwen2-tied",
        (112, 7, 1, 3, 152),
        tied=True,
        rope_theta=1000000.0,
        sliding_window=32768,
        torch_dtype="float32",
    ),
    qwen2(
        "qwen2-untied",
        (96, 4, 4, 2, 100),
        tied=False,
        rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"},
        layer_types=["full_attention"] * 2,
        sliding_window=None,
        dtype="float32",
    ),
]

# ---------------------------------------------------------------- gemma

NO_QUERY_SCALE = "GGUF has no key for query_pre_attn_scalar; llama.cpp takes the size of a head"


def gemma2(name, heads, kv_heads, head_dim, query_scale, **spec):
    config = {
        "architectures": ["Gemma2ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        # Small enough to affect the logits of these small models.
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
    gemma2("gemma2-query_scale", 4, 4, 20, 24, no_twin=NO_QUERY_SCALE),
]


def gemma3(name, query_scale=32, no_twin=None, **config):
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
    return {"name": name, "config": config, **({"no_twin": no_twin} if no_twin else {})}


# Types of the seven layers.
GEMMA3_TYPES = ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"]
GEMMA3 = [
    # Keys as in files on the hub.
    gemma3(
        "gemma3-pattern",
        rope_local_base_freq=10000.0,
        rope_scaling=None,
        rope_theta=1000000.0,
        sliding_window_pattern=6,
        torch_dtype="float32",
    ),
    # Keys of transformers 5; the scaling applies to layers without a window.
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
    gemma3(
        "gemma3-query_scale",
        query_scale=24,
        no_twin=NO_QUERY_SCALE,
        layer_types=GEMMA3_TYPES,
        rope_local_base_freq=10000.0,
        rope_scaling={"factor": 8.0, "rope_type": "linear"},
        rope_theta=1000000.0,
        torch_dtype="float32",
    ),
]

# ---------------------------------------------------------------- phi


def phi(name, sizes, fused=False, tensors_per_part=0, **config):
    """`sizes`: hidden size, heads, layers."""
    hidden, heads, layers = sizes
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
    # Like microsoft/phi-2, which rotates 32 of 80 dimensions; here 8 of 20.
    phi(
        "phi-partial",
        (80, 4, 3),
        num_key_value_heads=4,
        partial_rotary_factor=0.4,
        rope_scaling=None,
        rope_theta=10000.0,
        torch_dtype="float32",
    ),
    phi(
        "phi-parameters",
        (64, 2, 2),
        fused=True,
        tensors_per_part=9,
        num_key_value_heads=None,
        rope_parameters={
            "partial_rotary_factor": 0.5,
            "rope_theta": 10000.0,
            "rope_type": "default",
        },
        dtype="float32",
    ),
]

FAMILIES = {
    "nemotron_h": NEMOTRON_H,
    "llama": LLAMA,
    "qwen2": QWEN2,
    "gemma2": GEMMA2,
    "gemma3": GEMMA3,
    "phi": PHI,
    "qwen3": QWEN3,
    "smollm3": SMOLLM3,
    "granite": GRANITE,
    "phi3": PHI3,
    "mistral3": MISTRAL3,
    "olmo2": OLMO2,
    "granitehybrid": GRANITE_HYBRID,
    "lfm2": LFM2,
    "lfm3": LFM3,
    "falcon_h1": FALCON_H1,
    "exaone4": EXAONE4,
    "ernie4_5": ERNIE4_5,
    "hunyuan": HUNYUAN,
}
