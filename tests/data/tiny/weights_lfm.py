"""Random tensors of a tiny LFM model under their Hugging Face names; see weights.py."""

import math


def feed_forward_size(config):
    """Returns the columns of the feed-forward layers, as transformers computes them."""
    size = config.get("block_ff_dim", config.get("intermediate_size"))
    if config["model_type"] != "lfm2" or not config.get("block_auto_adjust_ff_dim", True):
        return size
    size = int(2 * size / 3)
    multiple = config["block_multiple_of"]
    return multiple * math.ceil(int(config["block_ffn_dim_multiplier"] * size) / multiple)


def layer_types(config):
    """Returns the type of each layer."""
    if "layer_types" in config:
        return config["layer_types"]
    if config["model_type"] == "lfm3":
        pattern = ["sliding_attention", "conv", "full_attention", "conv"]
        return ["conv"] + [pattern[index % 4] for index in range(1, config["num_hidden_layers"])]
    attention = config["full_attn_idxs"]
    return [
        "full_attention" if index in attention else "conv"
        for index in range(config["num_hidden_layers"])
    ]


def is_tied(config):
    return config.get("tie_embedding", config.get("tie_word_embeddings", True))


def convolution(tensors, layer, config, hidden):
    tensors.linear(f"{layer}.in_proj", 3 * hidden, hidden)
    tensors[f"{layer}.conv.weight"] = tensors.draw(f"{layer}.conv.weight").uniform(
        -1.2, 1.2, (hidden, 1, config["conv_L_cache"])
    )
    tensors.linear(f"{layer}.out_proj", hidden, hidden, 1.5)


def attention(tensors, layer, config, hidden, norms, output):
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim") or hidden // heads
    tensors.linear(f"{layer}.q_proj", heads * head_dim, hidden, 1.5)
    tensors.linear(f"{layer}.k_proj", kv_heads * head_dim, hidden, 1.5)
    tensors.linear(f"{layer}.v_proj", kv_heads * head_dim, hidden)
    tensors.linear(f"{layer}.{output}", hidden, heads * head_dim, 2.0)
    for norm in norms:
        tensors.norm(f"{layer}.{norm}.weight", head_dim)


def lfm(tensors, config, norms, output):
    """`norms` and `output`: names of the head norms and of attention's output projection."""
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    tied = is_tied(config)
    tensors.matrix("model.embed_tokens.weight", vocab, hidden, 1.5 if tied else math.sqrt(hidden))
    if not tied:
        tensors.matrix("lm_head.weight", vocab, hidden, 3.0)
    tensors.norm("model.embedding_norm.weight", hidden)
    intermediate = feed_forward_size(config)
    layer_norms = ["operator_norm", "ffn_norm"]
    if config.get("use_sandwich_norm"):
        layer_norms += ["post_operator_norm", "post_ffn_norm"]
    for index, kind in enumerate(layer_types(config)):
        layer = f"model.layers.{index}"
        for norm in layer_norms:
            tensors.norm(f"{layer}.{norm}.weight", hidden)
        if kind == "conv":
            convolution(tensors, f"{layer}.conv", config, hidden)
        else:
            attention(tensors, f"{layer}.self_attn", config, hidden, norms, output)
        if kind != "conv" and config.get("use_attention_gate"):
            heads = config["num_attention_heads"]
            tensors.linear(f"{layer}.self_attn.gate_proj", heads, hidden, 2.0)
        tensors.linear(f"{layer}.feed_forward.w1", intermediate, hidden)
        tensors.linear(f"{layer}.feed_forward.w3", intermediate, hidden)
        tensors.linear(f"{layer}.feed_forward.w2", hidden, intermediate, 2.0)


def lfm2(tensors, config):
    lfm(tensors, config, ("q_layernorm", "k_layernorm"), "out_proj")


def lfm3(tensors, config):
    lfm(tensors, config, ("q_norm", "k_norm"), "o_proj")


WRITERS = {"lfm2": lfm2, "lfm3": lfm3}
