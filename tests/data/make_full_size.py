"""Makes full-size model files with seeded random weights: `make_full_size.py NAME [options]`.

NAME is `nemotron4b` (Nemotron 3 Nano 4B in the layout of its official Q4_K_M GGUF: same tensors,
formats and size) or `minitron_width` (Llama-3.1-Minitron-4B-Width as llama.cpp quantizes it to
Q4_K_M).

- `--layers 0,1,12`: these layers only, renumbered.
- `--vocabulary N`: N tokens, single bytes and control tokens, instead of the real vocabulary.
- `--header`: the file up to the beginning of the weights.
- `--seed N`, `--folder FOLDER` (default: the cache's `full-size`).

Prints the file's path. A second run with the same inputs does nothing. Weights are random blocks
with scales that keep activations near one, written tensor by tensor.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf import GGUFWriter

from derived import cache, say, sha256
from make_models import CONTROL, halves, pack_scales
from vocabularies import NORMAL, Vocabulary, byte_alphabet, llama3, source_hashes, tekken

VERSION = 1
SEED = 1
TEMPLATE = Path(__file__).parent / "text" / "templates" / "nemotron.jinja"
# Size of the published file. The description pads the metadata, not all of which is reproduced.
NEMOTRON_FILE_BYTES = 2_837_072_896
NEMOTRON_DESCRIPTION = "Random weights in the sizes and formats of Nemotron 3 Nano 4B.".ljust(4080)
NEMOTRON_LAYERS = "M-M-M-MM-M-M*-M-M*-M-M-M*-M-M-MM*-MMM-M-M-"


# ---------------------------------------------------------------- tensors and keys


def more_bits(index, count):
    """True if llama.cpp's Q4_K_M stores matrix `index` of `count` with more bits."""
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


def stored(kind, columns):
    """Returns llama.cpp's fallback format if a row is not a multiple of K-quant blocks."""
    if columns % 256 == 0:
        return kind
    return {Type.Q4_K: Type.Q5_0, Type.Q6_K: Type.Q8_0}[kind]


class Tensors(dict):
    """Maps names to shape (outermost axis first), format, and kind of random numbers."""

    def matrix(self, name, rows, columns, kind=Type.Q4_K):
        self[f"{name}.weight"] = ((rows, columns), stored(kind, columns), "weights")

    def vector(self, name, shape, draw="norm"):
        self[name] = (shape, Type.F32, draw)


def attention(tensors, place, hidden, heads, kv_heads, value_kind):
    head_dim = 128
    tensors.matrix(f"{place}.attn_q", heads * head_dim, hidden)
    tensors.matrix(f"{place}.attn_k", kv_heads * head_dim, hidden)
    tensors.matrix(f"{place}.attn_v", kv_heads * head_dim, hidden, value_kind)
    tensors.matrix(f"{place}.attn_output", hidden, heads * head_dim)


def mamba(tensors, place, hidden):
    inner, channels, heads = 7680, 9728, 96
    tensors.matrix(f"{place}.ssm_in", inner + channels + heads, hidden)
    tensors.vector(f"{place}.ssm_conv1d.weight", (channels, 4), "conv")
    tensors.vector(f"{place}.ssm_conv1d.bias", (channels,), "conv")
    tensors.vector(f"{place}.ssm_dt.bias", (heads,), "dt")
    tensors.vector(f"{place}.ssm_a", (heads, 1), "a")
    tensors.vector(f"{place}.ssm_d", (heads, 1))
    tensors.vector(f"{place}.ssm_norm.weight", (8, inner // 8))
    tensors.matrix(f"{place}.ssm_out", hidden, inner)


def nemotron4b(chosen, vocabulary):
    """Tensors and keys of Nemotron 3 Nano 4B."""
    hidden, ffn, kinds = 3136, 12544, NEMOTRON_LAYERS
    chosen = range(len(kinds)) if chosen is None else chosen
    tensors = Tensors()
    tensors.matrix("token_embd", vocabulary, hidden)
    for new, layer in enumerate(chosen):
        place, kind = f"blk.{new}", kinds[layer]
        tensors.vector(f"{place}.attn_norm.weight", (hidden,))
        before = kinds[:layer].count(kind)
        if kind == "M":
            mamba(tensors, place, hidden)
        elif kind == "*":
            value_kind = Type.Q6_K if more_bits(before, kinds.count("*")) else Type.Q4_K
            attention(tensors, place, hidden, 40, 8, value_kind)
        else:
            tensors.matrix(f"{place}.ffn_up", ffn, hidden)
            # llama.cpp counts these matrices, but compares with the number of all layers.
            down_kind = Type.Q6_K if more_bits(before, len(kinds)) else Type.Q4_K
            tensors.matrix(f"{place}.ffn_down", hidden, ffn, down_kind)
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


def minitron_width(chosen, vocabulary):
    """Tensors and keys of Llama-3.1-Minitron-4B-Width."""
    hidden, ffn, count = 3072, 9216, 32
    chosen = range(count) if chosen is None else chosen
    tensors = Tensors()
    tensors.vector("rope_freqs.weight", (64,), "rope")
    tensors.matrix("token_embd", vocabulary, hidden)
    for new, layer in enumerate(chosen):
        place = f"blk.{new}"
        better = Type.Q6_K if more_bits(layer, count) else Type.Q4_K
        tensors.vector(f"{place}.attn_norm.weight", (hidden,))
        attention(tensors, place, hidden, 32, 8, better)
        tensors.vector(f"{place}.ffn_norm.weight", (hidden,))
        tensors.matrix(f"{place}.ffn_gate", ffn, hidden)
        tensors.matrix(f"{place}.ffn_up", ffn, hidden)
        tensors.matrix(f"{place}.ffn_down", hidden, ffn, better)
    tensors.vector("output_norm.weight", (hidden,))
    tensors.matrix("output", vocabulary, hidden, Type.Q6_K)
    keys = {
        "block_count": len(chosen),
        "context_length": 131072,
        "embedding_length": hidden,
        "vocab_size": vocabulary,
        "feed_forward_length": ffn,
        "attention.head_count": 32,
        "attention.head_count_kv": 8,
        "attention.key_length": 128,
        "attention.value_length": 128,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": 128,
        "rope.freq_base": 500000.0,
    }
    return "llama", tensors, keys


# Model builder, vocabulary builder, vocabulary size, pre-tokenizer name, BOS and EOS ids.
MODELS = {
    "nemotron4b": (nemotron4b, tekken, 131072, "pixtral", 1, 11),
    "minitron_width": (minitron_width, llama3, 128256, "llama-bpe", 128000, 128001),
}

# ---------------------------------------------------------------- random weights


def blocks(rng, kind, rows, columns):
    """Random blocks whose weights have a magnitude of about 1 / sqrt(columns)."""
    weights, size = GGML_QUANT_SIZES[kind]
    count = rows * columns // weights
    data = np.frombuffer(bytearray(rng.bytes(count * size)), dtype=np.uint8).reshape(count, size)
    goal = rng.uniform(0.5, 1.5, count) / np.sqrt(columns)
    if kind == Type.Q5_0:
        data[:, :2] = halves(goal / 9.2)
    elif kind == Type.Q8_0:
        data[:, :2] = halves(goal / 73.9)
    elif kind == Type.Q6_K:
        data[:, 208:] = halves(goal / (18.5 * 74))
    else:
        scales = rng.integers(0, 64, (count, 8), dtype=np.uint8)
        # Minima that about center the weights of a group.
        minima = np.clip(scales + rng.integers(-4, 5, (count, 8), dtype=np.int8), 0, 63).astype(
            np.uint8
        )
        scale = goal / (36 * 4.6)
        data[:, :2], data[:, 2:4], data[:, 4:16] = (
            halves(scale),
            halves(scale * 7.5),
            pack_scales(scales, minima),
        )
    return data.reshape(rows, -1)


def llama3_divisors():
    """Frequency divisors of Llama 3.1: 8 for wavelengths over 8192, 1 for those under 2048."""
    wavelengths = 2 * np.pi * 500000.0 ** (np.arange(64) / 64)
    smooth = np.clip((8192 / wavelengths - 1) / 3, 0, 1)
    return 1 / ((1 - smooth) / 8 + smooth)


def vector(rng, shape, draw):
    if draw == "norm":
        values = rng.uniform(0.5, 1.5, shape)
    elif draw == "conv":
        values = rng.normal(0, 0.5, shape)
    elif draw == "dt":
        # The inverse of softplus for time steps of 0.001 to 0.1.
        values = np.log(np.expm1(10 ** rng.uniform(-3, -1, shape)))
    elif draw == "a":
        values = -rng.uniform(1, 16, shape)
    else:
        values = llama3_divisors()
    return values.astype(np.float32)


# ---------------------------------------------------------------- file


def small_vocabulary(count):
    """Control tokens, the single bytes, and one merged pair at the end."""
    controls = ["<unk>", "<s>", "</s>", *(f"<SPECIAL_{id}>" for id in range(3, count - 257))]
    return Vocabulary(
        controls + byte_alphabet() + ["th"], [CONTROL] * len(controls) + [NORMAL] * 257, ["t h"]
    )


def write(path, name, options):
    make, real, full, pre, bos, eos = MODELS[name]
    count = options.vocabulary or full
    architecture, tensors, keys = make(options.layers, count)
    is_small = options.header or count != full
    vocabulary = small_vocabulary(count) if is_small else real()
    writer = GGUFWriter(path, architecture)
    writer.add_name(f"{name}, random weights, seed {options.seed}")
    writer.add_file_type(15)  # mostly Q4_K, medium
    is_published = name == "nemotron4b" and options.layers is None and not is_small
    if is_published:
        writer.add_description(NEMOTRON_DESCRIPTION)
    for key, value in keys.items():
        add = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
            list: writer.add_array,
        }
        add[type(value)](f"{architecture}.{key}", value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(1 if is_small else bos)
    writer.add_eos_token_id(2 if is_small else eos)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE.read_text(encoding="utf-8"))
    for tensor, (shape, kind, _) in tensors.items():
        weights, size = GGML_QUANT_SIZES[kind]
        # The writer expects shapes of quantized tensors in bytes.
        shape = shape if kind == Type.F32 else (shape[0], shape[1] // weights * size)
        dtype = np.float32 if kind == Type.F32 else np.uint8
        writer.add_tensor_info(
            tensor, shape, np.dtype(dtype), int(np.prod(shape)) * np.dtype(dtype).itemsize, kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if not options.header:
        rng = np.random.default_rng(options.seed)
        for shape, kind, draw in tensors.values():
            writer.write_tensor_data(
                vector(rng, shape, draw) if kind == Type.F32 else blocks(rng, kind, *shape)
            )
    writer.close()
    if is_published and path.stat().st_size != NEMOTRON_FILE_BYTES:
        raise SystemExit(
            f"{path}: found {path.stat().st_size} bytes, expected {NEMOTRON_FILE_BYTES}"
        )


def file_name(options):
    parts = [options.name]
    parts += [f"layers-{'-'.join(map(str, options.layers))}"] if options.layers is not None else []
    parts += [f"vocabulary-{options.vocabulary}"] if options.vocabulary else []
    parts += [f"seed-{options.seed}"] if options.seed != SEED else []
    return "_".join(parts) + (".header.gguf" if options.header else ".gguf")


def arguments():
    numbers = lambda text: [int(number) for number in text.split(",")]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("--layers", type=numbers)
    parser.add_argument("--vocabulary", type=int)
    parser.add_argument("--header", action="store_true")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--folder", type=Path, default=cache() / "full-size")
    return parser.parse_args()


def main():
    options = arguments()
    path = options.folder / file_name(options)
    manifest = path.with_name(f"{path.name}.json")
    inputs = {
        "script": sha256(__file__),
        "template": sha256(TEMPLATE),
        "vocabularies": source_hashes(),
    }
    if manifest.exists() and path.exists():
        said = json.loads(manifest.read_text())
        if said["inputs"] == inputs and said["size_bytes"] == path.stat().st_size:
            print(path)
            return
    say(f"making {path}")
    options.folder.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(work, options.name, options)
        work.rename(path)
    finally:
        work.unlink(missing_ok=True)
    manifest.write_text(json.dumps({"inputs": inputs, "size_bytes": path.stat().st_size}))
    print(path)


if __name__ == "__main__":
    main()
