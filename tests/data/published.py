"""Published sizes of models: their tensors and GGUF keys, in the formats of llama.cpp's quantizer.

Sizes are those of each model's `config.json`; `tests/catalog.rs` compares the resulting numbers of
bytes with those of published files. Not all values that only change numbers, such as factors of
rotary frequencies, are the published ones.
"""

from dataclasses import dataclass, field

from gguf import GGMLQuantizationType as Type

NEMOTRON_LAYERS = "M-M-M-MM-M-M*-M-M*-M-M-M*-M-M-MM*-MMM-M-M-"
# Formats of the files that this module describes, by the names of llama.cpp's quantizer.
FORMATS = ("Q4_K_M", "Q8_0")


def more_bits(index, count):
    """True if llama.cpp's Q4_K_M stores matrix `index` of `count` with more bits."""
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


def better(index, count):
    """Format of matrix `index` of `count`, of values or of the second feed-forward product."""
    return Type.Q6_K if more_bits(index, count) else Type.Q4_K


def stored(kind, columns):
    """Returns llama.cpp's fallback format if a row is not a multiple of K-quant blocks."""
    if columns % 256 == 0:
        return kind
    return {Type.Q4_K: Type.Q5_0, Type.Q5_K: Type.Q5_1, Type.Q6_K: Type.Q8_0}[kind]


class Tensors(dict):
    """Maps names to shape (outermost axis first), format, and kind of random numbers."""

    def __init__(self, format):
        super().__init__()
        self.format = format

    def matrix(self, name, rows, columns, kind=Type.Q4_K):
        kind = Type.Q8_0 if self.format == "Q8_0" else stored(kind, columns)
        self[f"{name}.weight"] = ((rows, columns), kind, "weights")

    def vector(self, name, shape, draw="norm"):
        self[name] = (shape, Type.F32, draw)

    def norm(self, name, width):
        self.vector(f"{name}.weight", (width,))


def attention(tensors, place, hidden, heads, kv_heads, value_kind):
    head_dim = 128
    tensors.matrix(f"{place}.attn_q", heads * head_dim, hidden)
    tensors.matrix(f"{place}.attn_k", kv_heads * head_dim, hidden)
    tensors.matrix(f"{place}.attn_v", kv_heads * head_dim, hidden, value_kind)
    tensors.matrix(f"{place}.attn_output", hidden, heads * head_dim)


def mamba(tensors, place, hidden, inner, channels, heads, groups):
    tensors.matrix(f"{place}.ssm_in", inner + channels + heads, hidden)
    tensors.vector(f"{place}.ssm_conv1d.weight", (channels, 4), "conv")
    tensors.vector(f"{place}.ssm_conv1d.bias", (channels,), "conv")
    tensors.vector(f"{place}.ssm_dt.bias", (heads,), "dt")
    tensors.vector(f"{place}.ssm_a", (heads, 1), "a")
    tensors.vector(f"{place}.ssm_d", (heads, 1))
    tensors.vector(f"{place}.ssm_norm.weight", (groups, inner // groups))
    tensors.matrix(f"{place}.ssm_out", hidden, inner)


def nemotron4b(chosen, vocabulary, format):
    """Tensors and keys of Nemotron 3 Nano 4B."""
    hidden, ffn, kinds = 3136, 12544, NEMOTRON_LAYERS
    chosen = range(len(kinds)) if chosen is None else chosen
    tensors = Tensors(format)
    tensors.matrix("token_embd", vocabulary, hidden)
    for new, layer in enumerate(chosen):
        place, kind = f"blk.{new}", kinds[layer]
        tensors.vector(f"{place}.attn_norm.weight", (hidden,))
        before = kinds[:layer].count(kind)
        if kind == "M":
            mamba(tensors, place, hidden, 7680, 9728, 96, 8)
        elif kind == "*":
            attention(tensors, place, hidden, 40, 8, better(before, kinds.count("*")))
        else:
            tensors.matrix(f"{place}.ffn_up", ffn, hidden)
            # llama.cpp counts these matrices, but compares with the number of all layers.
            tensors.matrix(f"{place}.ffn_down", hidden, ffn, better(before, len(kinds)))
    tensors.vector("output_norm.weight", (hidden,))
    tensors.matrix("output", vocabulary, hidden, Type.Q6_K)
    of_kind = lambda kind, value: [value if kinds[layer] == kind else 0 for layer in chosen]
    keys = {
        "block_count": len(chosen),
        "context_length": 262144,
        "embedding_length": hidden,
        "vocab_size": vocabulary,
        "feed_forward_length": of_kind("-", ffn),
        "attention.head_count": 40,
        "attention.head_count_kv": of_kind("*", 8),
        "attention.key_length": 128,
        "attention.value_length": 128,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.layer_norm_epsilon": 1e-5,
        "ssm.conv_kernel": 4,
        "ssm.state_size": 128,
        "ssm.group_count": 8,
        "ssm.inner_size": 7680,
        "ssm.time_step_rank": 96,
        "rope.dimension_count": 128,
        "rope.freq_base": 10000.0,
        "rope.scaling.finetuned": False,
    }
    return "nemotron_h", tensors, keys


# ---------------------------------------------------------------- other families


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model, by their names in GGUF."""

    architecture: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    theta: float
    tied: bool = True
    epsilon: float = 1e-5
    # Layers with attention, if others have a Mamba-2 mixer or a short convolution instead.
    attention_layers: tuple = None
    # Layers of attention in a sliding window.
    local_layers: tuple = ()
    more: dict = field(default_factory=dict)


def granite_scales(embedding, residual, attention, logits):
    return {
        "embedding_scale": embedding,
        "residual_scale": residual,
        "attention.scale": attention,
        "logit_scale": logits,
    }


NO_POSITIONS = {"rope.scaling.finetuned": False}
MAMBA = {
    "ssm.conv_kernel": 4,
    "ssm.state_size": 128,
    "ssm.group_count": 1,
    "ssm.inner_size": 4096,
    "ssm.time_step_rank": 64,
}
YARN = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 16.0,
    "rope.scaling.original_context_length": 16384,
    "rope.scaling.yarn_beta_fast": 32.0,
    "rope.scaling.yarn_beta_slow": 1.0,
    "rope.scaling.yarn_log_multiplier": 1.0,
    "attention.temperature_scale": 0.1,
}
LONG_ROPE = {
    "rope.dimension_count": 96,
    "rope.scaling.original_context_length": 4096,
    "rope.scaling.attn_factor": 1.19023,
}
# fmt: off
SIZES = {
    "smollm2_360m": Sizes("llama", 32, 960, 2560, 15, 5, 64, 49152, 8192, 1e5),
    "llama3.2_1b": Sizes("llama", 16, 2048, 8192, 32, 8, 64, 128256, 131072, 5e5,
        more={"divisors": 32}),
    "minitron_width": Sizes("llama", 32, 3072, 9216, 32, 8, 128, 128256, 131072, 5e5, tied=False,
        more={"divisors": 64}),
    "minicpm5_1b": Sizes("llama", 24, 1536, 4608, 16, 2, 128, 130560, 131072, 1e6, tied=False),
    "qwen3_1.7b": Sizes("qwen3", 28, 2048, 6144, 16, 8, 128, 151936, 40960, 1e6, epsilon=1e-6),
    "qwen3_4b": Sizes("qwen3", 36, 2560, 9728, 32, 8, 128, 151936, 40960, 1e6, epsilon=1e-6),
    "smollm3_3b": Sizes("smollm3", 36, 2048, 11008, 16, 4, 128, 128256, 65536, 5e6, epsilon=1e-6),
    "phi4_mini": Sizes("phi3", 32, 3072, 8192, 24, 8, 128, 200064, 131072, 1e4, more=LONG_ROPE),
    "ministral3_3b": Sizes("mistral3", 26, 3072, 9216, 32, 8, 128, 131072, 262144, 1e6, more=YARN),
    "olmo2_1b": Sizes("olmo2", 16, 2048, 8192, 16, 16, 128, 100352, 4096, 5e5, tied=False,
        epsilon=1e-6),
    "granite4_350m": Sizes("granitehybrid", 28, 1024, 2048, 16, 4, 64, 100352, 32768, 1e7,
        more=granite_scales(12.0, 0.263, 0.015625, 4.0)),
    "granite4_1b": Sizes("granitehybrid", 40, 2048, 4096, 16, 4, 128, 100352, 131072, 1e7,
        more=granite_scales(12.0, 0.22, 0.0078125, 8.0)),
    "granite4_micro": Sizes("granite", 40, 2560, 8192, 40, 8, 64, 100352, 131072, 1e7,
        more=granite_scales(12.0, 0.22, 0.015625, 10.0)),
    "granite4_h_micro": Sizes("granitehybrid", 40, 2048, 8192, 32, 8, 64, 100352, 131072, 1e4,
        attention_layers=(5, 15, 25, 35),
        more=granite_scales(12.0, 0.22, 0.015625, 8.0) | MAMBA | NO_POSITIONS),
    "gemma3_270m": Sizes("gemma3", 18, 640, 2048, 4, 1, 256, 262144, 32768, 1e6, epsilon=1e-6,
        local_layers=tuple(i for i in range(18) if i % 6 != 5),
        more={"attention.sliding_window": 512}),
    "lfm2_1.2b": Sizes("lfm2", 16, 2048, 8192, 32, 8, 64, 65536, 128000, 1e6,
        attention_layers=(2, 5, 8, 10, 12, 14), more={"shortconv.l_cache": 3}),
    "lfm3_1.7b": Sizes("lfm3", 24, 2048, 7680, 16, 4, 128, 128000, 128000, 1e6,
        attention_layers=tuple(i for i in range(1, 24) if i % 2 == 0),
        local_layers=tuple(range(4, 24, 4)),
        more={"shortconv.l_cache": 7, "attention.sliding_window": 256,
            "rope.freq_base_swa": 10000.0}),
}
# fmt: on

HEAD_NORMS = ("qwen3", "gemma3", "lfm2", "lfm3")
POST_NORMS = ("olmo2", "gemma3", "lfm3")


def attention_tensors(tensors, place, sizes, value_kind):
    """Tensors of attention with all norms that the architecture has."""
    hidden, architecture = sizes.hidden, sizes.architecture
    rows, kv_rows = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    if architecture == "phi3":
        tensors.matrix(f"{place}.attn_qkv", rows + 2 * kv_rows, hidden, Type.Q5_K)
    else:
        tensors.matrix(f"{place}.attn_q", rows, hidden)
        tensors.matrix(f"{place}.attn_k", kv_rows, hidden)
        tensors.matrix(f"{place}.attn_v", kv_rows, hidden, value_kind)
    if architecture in HEAD_NORMS:
        tensors.norm(f"{place}.attn_q_norm", sizes.head_dim)
        tensors.norm(f"{place}.attn_k_norm", sizes.head_dim)
    if architecture == "olmo2":
        tensors.norm(f"{place}.attn_q_norm", rows)
        tensors.norm(f"{place}.attn_k_norm", kv_rows)
    if architecture == "lfm3":
        tensors.matrix(f"{place}.attn_gate", sizes.heads, hidden)
    tensors.matrix(f"{place}.attn_output", hidden, rows)


def mixer_tensors(tensors, place, sizes):
    """Tensors of the Mamba-2 mixer or short convolution of a layer without attention."""
    hidden = sizes.hidden
    if "shortconv.l_cache" in sizes.more:
        shape = (hidden, sizes.more["shortconv.l_cache"])
        tensors.vector(f"{place}.shortconv.conv.weight", shape, "conv")
        tensors.matrix(f"{place}.shortconv.in_proj", 3 * hidden, hidden)
        tensors.matrix(f"{place}.shortconv.out_proj", hidden, hidden)
    else:
        inner, groups = sizes.more["ssm.inner_size"], sizes.more["ssm.group_count"]
        shared = 2 * groups * sizes.more["ssm.state_size"]
        heads = sizes.more["ssm.time_step_rank"]
        mamba(tensors, place, hidden, inner, inner + shared, heads, groups)


def feed_forward_tensors(tensors, place, sizes, down_kind):
    hidden, ffn = sizes.hidden, sizes.ffn
    if sizes.architecture == "phi3":
        tensors.matrix(f"{place}.ffn_up", 2 * ffn, hidden)
    else:
        tensors.matrix(f"{place}.ffn_gate", ffn, hidden)
        tensors.matrix(f"{place}.ffn_up", ffn, hidden)
    tensors.matrix(f"{place}.ffn_down", hidden, ffn, down_kind)


def layer_tensors(tensors, place, sizes, layer):
    """Tensors of a layer, which is one of the published model's."""
    hidden, architecture = sizes.hidden, sizes.architecture
    if architecture != "olmo2":
        tensors.norm(f"{place}.attn_norm", hidden)
    with_attention = sizes.attention_layers or tuple(range(sizes.layers))
    if layer in with_attention:
        value_kind = better(with_attention.index(layer), len(with_attention))
        attention_tensors(tensors, place, sizes, value_kind)
    else:
        mixer_tensors(tensors, place, sizes)
    if architecture in POST_NORMS:
        tensors.norm(f"{place}.post_attention_norm", hidden)
    if architecture != "olmo2":
        tensors.norm(f"{place}.ffn_norm", hidden)
    feed_forward_tensors(tensors, place, sizes, better(layer, sizes.layers))
    if architecture in POST_NORMS:
        tensors.norm(f"{place}.post_ffw_norm", hidden)


def rotary_tensors(tensors, sizes):
    pairs = sizes.head_dim // 2
    if "divisors" in sizes.more:
        tensors.vector("rope_freqs.weight", (sizes.more["divisors"],), "rope")
    if sizes.architecture == "lfm3":
        tensors.vector("rope_freqs.weight", (pairs,), "half")
    if sizes.architecture == "phi3":
        pairs = sizes.more["rope.dimension_count"] // 2
        tensors.vector("rope_factors_long.weight", (pairs,), "factors")
        tensors.vector("rope_factors_short.weight", (pairs,), "factors")


def published(name, chosen, vocabulary, format):
    """Architecture, tensors and keys of a model of `SIZES`."""
    sizes = SIZES[name]
    chosen = range(sizes.layers) if chosen is None else chosen
    tensors = Tensors(format)
    rotary_tensors(tensors, sizes)
    embedding_kind = Type.Q6_K if sizes.tied else Type.Q4_K
    tensors.matrix("token_embd", vocabulary, sizes.hidden, embedding_kind)
    for new, layer in enumerate(chosen):
        layer_tensors(tensors, f"blk.{new}", sizes, layer)
    tensors.norm("token_embd_norm" if sizes.architecture == "lfm2" else "output_norm", sizes.hidden)
    if not sizes.tied:
        tensors.matrix("output", vocabulary, sizes.hidden, Type.Q6_K)
    keys = {
        "block_count": len(chosen),
        "context_length": sizes.context,
        "embedding_length": sizes.hidden,
        "vocab_size": vocabulary,
        "feed_forward_length": sizes.ffn,
        "attention.head_count": sizes.heads,
        "attention.head_count_kv": sizes.kv_heads,
        "attention.key_length": sizes.head_dim,
        "attention.value_length": sizes.head_dim,
        "attention.layer_norm_rms_epsilon": sizes.epsilon,
        "rope.dimension_count": sizes.head_dim,
        "rope.freq_base": sizes.theta,
    }
    keys |= {key: value for key, value in sizes.more.items() if key != "divisors"}
    if sizes.architecture == "granitehybrid" or sizes.attention_layers:
        with_attention = sizes.attention_layers or range(sizes.layers)
        counts = [sizes.kv_heads if layer in with_attention else 0 for layer in chosen]
        keys["attention.head_count_kv"] = counts
    if sizes.local_layers:
        flags = [layer in sizes.local_layers for layer in chosen]
        keys["attention.sliding_window_pattern"] = flags
    return sizes.architecture, tensors, keys
