"""Specifications of tiny random models for embeddings: BERT, EmbeddingGemma, Qwen3-Embedding.

Sizes are irregular on purpose, as in specs.py. A spec has a name, a family, a configuration, and
what sentence-transformers writes beside it:

- `pooling`: mean, cls or lasttoken,
- `dense`: (outputs, bias, function) of each dense layer after the pooling,
- `normalize`: embeddings have length 1,
- `prompts`: prompts by name, and the default one,
- `prefix`: prefix of the tensor names,
- `no_twin`: the reason why there is no GGUF file.
"""

TEXTS = ["The days of the week are Monday, Tuesday, Wednesday.", "Grüße aus Österreich: 12,5 °C"]


def bert(name, sizes, **spec):
    """`sizes`: hidden size, heads, layers, intermediate size, token types."""
    hidden, heads, layers, intermediate, types = sizes
    config = {
        "architectures": [spec.pop("architecture", "BertModel")],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": spec.pop("hidden_act", "gelu"),
        "hidden_dropout_prob": 0.1,
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": intermediate,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 600,
        "model_type": "bert",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "pad_token_id": 0,
        "type_vocab_size": types,
        "vocab_size": 500,
    }
    return {"name": name, "family": "bert", "config": config, **spec}


def embeddinggemma(name, window, dense):
    config = {
        "architectures": ["Gemma3TextModel"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "bos_token_id": 1,
        "dtype": "float32",
        "eos_token_id": 2,
        "final_logit_softcapping": None,
        "head_dim": 32,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 80,
        "initializer_range": 0.02,
        "intermediate_size": 104,
        "layer_types": ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"],
        "max_position_embeddings": 2048,
        "model_type": "gemma3_text",
        "num_attention_heads": 5,
        "num_hidden_layers": 7,
        "num_key_value_heads": 1,
        "pad_token_id": 0,
        "query_pre_attn_scalar": 32,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {
            "full_attention": {"rope_theta": 1000000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
        },
        "sliding_window": window,
        "use_bidirectional_attention": True,
        "use_cache": True,
        "vocab_size": 300,
    }
    prompts = {"query": "task: search result | query: ", "document": "title: none | text: "}
    return {
        "name": name,
        "family": "gemma3",
        "architecture": "gemma-embedding",
        "config": config,
        "prefix": "",
        "pooling": "mean",
        "dense": dense,
        "normalize": True,
        "prompts": (prompts, None),
    }


def qwen3_embedding(name, sizes, head_dim, **spec):
    """`sizes`: hidden size, query heads, KV heads, layers, intermediate size."""
    hidden, heads, kv_heads, layers, intermediate = sizes
    config = {
        "architectures": [spec.pop("architecture", "Qwen3ForCausalLM")],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "dtype": "float32",
        "eos_token_id": 0,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": intermediate,
        "layer_types": ["full_attention"] * layers,
        "max_position_embeddings": 32768,
        "max_window_layers": layers,
        "model_type": "qwen3",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
        "sliding_window": None,
        "tie_word_embeddings": spec.pop("tied", True),
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": 300,
    }
    prompts = {"query": "Instruct: Find passages.\nQuery:", "document": ""}
    return {
        "name": name,
        "family": "qwen3",
        "config": config,
        "prefix": "",
        "pooling": "lasttoken",
        "normalize": True,
        "prompts": (prompts, None),
        **spec,
    }


BERT = [
    bert("bert-mean", (80, 5, 3, 104, 2), pooling="mean", normalize=True),
    # Not normalized, one token type, another activation function, a prefix; with heads for
    # training, which are not used.
    bert(
        "bert-cls",
        (96, 4, 2, 384, 1),
        architecture="BertForMaskedLM",
        hidden_act="gelu_new",
        pooling="cls",
        prefix="bert.",
        no_twin="llama.cpp has one activation function for BERT",
    ),
    bert(
        "bert-dense",
        (72, 6, 2, 100, 2),
        pooling="mean",
        dense=[(40, True, "Tanh")],
        normalize=True,
        prompts=({"query": "query: "}, "query"),
        no_twin="llama.cpp's converter drops dense layers of BERT",
    ),
]

GEMMA_EMBEDDING = [
    embeddinggemma("embeddinggemma-plain", 33, []),
    embeddinggemma("embeddinggemma-dense", 40, [(136, False, "Identity"), (80, False, "Identity")]),
]

QWEN3_EMBEDDING = [
    qwen3_embedding("qwen3-embedding-tied", (96, 4, 2, 3, 144), 32),
    # No output matrix, although it is not tied.
    qwen3_embedding(
        "qwen3-embedding-untied",
        (72, 3, 1, 2, 100),
        20,
        architecture="Qwen3Model",
        tied=False,
    ),
]

SPECS = [*BERT, *GEMMA_EMBEDDING, *QWEN3_EMBEDDING]
