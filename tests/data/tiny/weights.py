"""Random tensors of a tiny model under their Hugging Face names, with wide ranges of values.

Only the 64-bit words of numpy's PCG64 are used, so that the tensors are the same in every version.
"""

import zlib

import numpy as np
import weights_lfm
from falcon_h1 import draw_falcon
from granite_hybrid import draw_granite


class Draw:
    """Random numbers for a tensor, seeded by the names of the model and the tensor."""

    def __init__(self, model, tensor):
        self.bits = np.random.PCG64(zlib.crc32(f"{model}/{tensor}".encode()))

    def uniform(self, low, high, shape):
        words = self.bits.random_raw(int(np.prod(shape))) >> np.uint64(11)
        return (low + (high - low) * (words * 2.0**-53)).reshape(shape).astype(np.float32)

    def matrix(self, rows, columns, gain=1.0):
        """Rows whose products with unit-variance inputs have the standard deviation `gain`."""
        edge = gain * np.sqrt(3 / columns)
        return self.uniform(-edge, edge, (rows, columns))


class Tensors(dict):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def draw(self, name):
        return Draw(self.model, name)

    def matrix(self, name, rows, columns, gain=1.0):
        self[name] = self.draw(name).matrix(rows, columns, gain)

    def vector(self, name, length, low, high):
        self[name] = self.draw(name).uniform(low, high, (length,))

    def norm(self, name, length, around=1.0):
        self.vector(name, length, around - 0.5, around + 0.5)

    def linear(self, name, rows, columns, gain=1.0, bias=False):
        self.matrix(f"{name}.weight", rows, columns, gain)
        if bias:
            self.vector(f"{name}.bias", rows, -0.5, 0.5)


def attention(tensors, layer, config, hidden, bias=False, output="o_proj", output_bias=False):
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or hidden // heads
    tensors.linear(f"{layer}.q_proj", heads * head_dim, hidden, 1.5, bias)
    tensors.linear(f"{layer}.k_proj", kv_heads * head_dim, hidden, 1.5, bias)
    tensors.linear(f"{layer}.v_proj", kv_heads * head_dim, hidden, 1.0, bias)
    tensors.linear(f"{layer}.{output}", hidden, heads * head_dim, 2.0, output_bias)


def gated(tensors, layer, hidden, intermediate, bias=False):
    tensors.linear(f"{layer}.gate_proj", intermediate, hidden, bias=bias)
    tensors.linear(f"{layer}.up_proj", intermediate, hidden, bias=bias)
    tensors.linear(f"{layer}.down_proj", hidden, intermediate, 2.0, bias)


def embeddings(tensors, config, name, tied_gain=1.5):
    """Embedding and output matrix. Tied ones are small, so that the layers determine the logits."""
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    # Some Gemma configurations leave it out: it is the default there.
    tied = config.get("tie_word_embeddings", True)
    tensors.matrix(f"model.{name}.weight", vocab, hidden, tied_gain if tied else np.sqrt(hidden))
    if not tied:
        tensors.matrix("lm_head.weight", vocab, hidden, 3.0)
    return hidden


def llama(tensors, config, qkv_bias=False):
    bias = config.get("attention_bias", False)
    # A multiplied embedding is smaller, so that the layers determine the logits.
    tied_gain = 1.5 / config.get("embedding_multiplier", 1)
    hidden = embeddings(tensors, config, "embed_tokens", tied_gain)
    tensors.norm("model.norm.weight", hidden)
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        tensors.norm(f"{layer}.input_layernorm.weight", hidden)
        tensors.norm(f"{layer}.post_attention_layernorm.weight", hidden)
        attention(tensors, f"{layer}.self_attn", config, hidden, bias or qkv_bias, output_bias=bias)
        gated(
            tensors,
            f"{layer}.mlp",
            hidden,
            config["intermediate_size"],
            config.get("mlp_bias", False),
        )


def qwen2(tensors, config):
    llama(tensors, config, qkv_bias=True)


def normed_heads(tensors, config, parts):
    """Draws Llama's tensors and norms of heads."""
    llama(tensors, config)
    for index in range(config["num_hidden_layers"]):
        for part in parts:
            name = f"model.layers.{index}.self_attn.{part}.weight"
            tensors.norm(name, config["head_dim"])


def qwen3(tensors, config):
    normed_heads(tensors, config, ("q_norm", "k_norm"))


def hunyuan(tensors, config):
    normed_heads(tensors, config, ("query_layernorm", "key_layernorm"))


def olmo2(tensors, config):
    bias = config["attention_bias"]
    hidden = embeddings(tensors, config, "embed_tokens")
    tensors.norm("model.norm.weight", hidden)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = hidden // heads
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        for part in ("post_attention", "post_feedforward"):
            tensors.norm(f"{layer}.{part}_layernorm.weight", hidden)
        attention(tensors, f"{layer}.self_attn", config, hidden, bias, output_bias=bias)
        # All heads of a row, or each head.
        widths = [config.get("norm_width", count * head_dim) for count in (heads, kv_heads)]
        tensors.norm(f"{layer}.self_attn.q_norm.weight", widths[0])
        tensors.norm(f"{layer}.self_attn.k_norm.weight", widths[1])
        gated(tensors, f"{layer}.mlp", hidden, config["intermediate_size"])


def exaone4(tensors, config):
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    olmo2(tensors, {**config, "norm_width": config.get("head_dim") or hidden // heads})


def ernie(tensors, config):
    bias = config["use_bias"]
    llama(tensors, {**config, "attention_bias": bias, "mlp_bias": bias})


def phi3(tensors, config):
    """Llama's tensors, some of which are joined."""
    apart = Tensors(tensors.model)
    llama(apart, config)
    joined = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
    first = {parts[0]: (name, parts) for name, parts in joined.items()}
    others = [part for parts in joined.values() for part in parts[1:]]
    for name, values in apart.items():
        module = name.split(".")[-2]
        if module in first:
            new, parts = first[module]
            rows = [apart[name.replace(module, part)] for part in parts]
            tensors[name.replace(module, new)] = np.concatenate(rows)
        elif module not in others:
            tensors[name] = values


def gemma(tensors, config):
    hidden = embeddings(tensors, config, "embed_tokens", 0.5)
    # Gemma's norms multiply by 1 + weight; the last one compensates for the small embedding.
    tensors.norm("model.norm.weight", hidden, 6.0)
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        for part in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            tensors.norm(f"{layer}.{part}_layernorm.weight", hidden, 0.0)
        attention(tensors, f"{layer}.self_attn", config, hidden)
        if config["model_type"] == "gemma3_text":
            for part in ("q_norm", "k_norm"):
                tensors.norm(f"{layer}.self_attn.{part}.weight", config["head_dim"], 0.0)
        gated(tensors, f"{layer}.mlp", hidden, config["intermediate_size"])


def phi(tensors, config):
    hidden = embeddings(tensors, config, "embed_tokens")
    tensors.vector("lm_head.bias", config["vocab_size"], -0.5, 0.5)
    tensors.norm("model.final_layernorm.weight", hidden)
    tensors.vector("model.final_layernorm.bias", hidden, -0.5, 0.5)
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        tensors.norm(f"{layer}.input_layernorm.weight", hidden)
        tensors.vector(f"{layer}.input_layernorm.bias", hidden, -0.5, 0.5)
        attention(tensors, f"{layer}.self_attn", config, hidden, True, "dense", True)
        tensors.linear(f"{layer}.mlp.fc1", config["intermediate_size"], hidden, 1.0, True)
        tensors.linear(f"{layer}.mlp.fc2", hidden, config["intermediate_size"], 2.0, True)


def nemotron_h_pattern(config):
    if "hybrid_override_pattern" in config:
        return config["hybrid_override_pattern"]
    letters = {
        "mamba": "M",
        "linear_attention": "M",
        "attention": "*",
        "full_attention": "*",
        "mlp": "-",
    }
    return "".join(
        letters[kind] for kind in config.get("layers_block_type") or config["layer_types"]
    )


def mixer(tensors, layer, config, hidden):
    heads, groups, state = config["mamba_num_heads"], config["n_groups"], config["ssm_state_size"]
    inner = heads * config["mamba_head_dim"]
    channels = inner + 2 * groups * state
    tensors.linear(f"{layer}.in_proj", inner + channels + heads, hidden)
    tensors[f"{layer}.conv1d.weight"] = tensors.draw(f"{layer}.conv1d.weight").uniform(
        -0.9, 0.9, (channels, 1, config["conv_kernel"])
    )
    tensors.vector(f"{layer}.conv1d.bias", channels, -0.4, 0.4)
    # From states that decay at once to states that last for thousands of tokens.
    tensors.vector(f"{layer}.A_log", heads, -4.0, 4.0)
    dt_bias = tensors.draw(f"{layer}.dt_bias").uniform(-8.0, 8.0, (heads,))
    # Time steps so long that their exp() overflows.
    dt_bias[2::7] = 20.0
    tensors[f"{layer}.dt_bias"] = dt_bias
    tensors.vector(f"{layer}.D", heads, -2.0, 2.0)
    tensors.norm(f"{layer}.norm.weight", inner)
    tensors.linear(f"{layer}.out_proj", hidden, inner)


def nemotron_h(tensors, config):
    hidden = embeddings(tensors, config, "embeddings")
    tensors.norm("model.norm_f.weight", hidden)
    for index, kind in enumerate(nemotron_h_pattern(config)):
        layer = f"model.layers.{index}"
        tensors.norm(f"{layer}.norm.weight", hidden)
        if kind == "M":
            mixer(tensors, f"{layer}.mixer", config, hidden)
        elif kind == "*":
            attention(tensors, f"{layer}.mixer", config, hidden)
        else:
            tensors.linear(f"{layer}.mixer.up_proj", config["intermediate_size"], hidden)
            tensors.linear(f"{layer}.mixer.down_proj", hidden, config["intermediate_size"])


WRITERS = {
    "nemotron_h": nemotron_h,
    "llama": llama,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "smollm3": llama,
    "granite": llama,
    "phi3": phi3,
    "mistral3": llama,
    "olmo2": olmo2,
    "gemma2": gemma,
    "gemma3": gemma,
    "phi": phi,
    "granitehybrid": draw_granite,
    "falcon_h1": draw_falcon,
    "exaone4": exaone4,
    "ernie4_5": ernie,
    "hunyuan": hunyuan,
    **weights_lfm.WRITERS,
}


def to_bf16(values):
    """Rounds f32 to BF16, to nearest even, and returns the bits."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def draw(family, spec):
    """Draws all tensors, rounded as the folder stores them."""
    tensors = Tensors(spec["name"])
    WRITERS[family](tensors, spec["config"])
    for name, values in tensors.items():
        if name.endswith(spec.get("bf16_suffixes", ())):
            tensors[name] = (to_bf16(values).astype(np.uint32) << 16).view(np.float32)
    return dict(tensors)
