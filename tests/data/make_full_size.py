"""Makes full-size model files with seeded random weights: `make_full_size.py NAME [options]`.

NAME is `nemotron4b` (Nemotron 3 Nano 4B in the layout of its official Q4_K_M GGUF: same tensors,
formats and size) or one of `SIZES` in published.py, which have a vocabulary of control tokens and
single bytes, except for `minitron_width` (Llama-3.1-Minitron-4B-Width).

- `--format Q8_0`: another format than Q4_K_M, as llama.cpp quantizes to it.
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
from published import FORMATS, SIZES, nemotron4b, published
from vocabularies import NORMAL, Vocabulary, byte_alphabet, llama3, source_hashes, tekken

VERSION = 1
SEED = 1
TEMPLATE = Path(__file__).parent / "text" / "templates" / "nemotron.jinja"
# Size of the published file. The description pads the metadata, not all of which is reproduced.
NEMOTRON_FILE_BYTES = 2_837_072_896
NEMOTRON_DESCRIPTION = "Random weights in the sizes and formats of Nemotron 3 Nano 4B.".ljust(4080)


# Pre-tokenizer names of architectures; they do not matter to random weights.
PRE_TOKENIZERS = {"qwen3": "qwen2", "mistral3": "tekken", "lfm2": "lfm2", "lfm3": "lfm2"}
# Vocabulary builder, vocabulary size, pre-tokenizer name, BOS and EOS ids.
VOCABULARIES = {
    "nemotron4b": (tekken, 131072, "pixtral", 1, 11),
    "minitron_width": (llama3, 128256, "llama-bpe", 128000, 128001),
}
# llama.cpp's numbers of file types.
FILE_TYPES = {"Q4_K_M": 15, "Q8_0": 7}


def vocabulary_of(name):
    """Vocabulary builder (`None` for a small one), size, pre-tokenizer name, BOS and EOS ids."""
    if name in VOCABULARIES:
        return VOCABULARIES[name]
    sizes = SIZES[name]
    return None, sizes.vocabulary, PRE_TOKENIZERS.get(sizes.architecture, "llama-bpe"), 1, 2


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
    elif kind == Type.Q5_1:
        data[:, :2], data[:, 2:4] = halves(goal / 9.2), halves(goal / 9.2 * -15.5)
    elif kind == Type.Q6_K:
        data[:, 208:] = halves(goal / (18.5 * 74))
    else:
        # Q4_K and Q5_K: numbers from 0 to 15 or 31, with six-bit scales and minima.
        center, deviation = (15.5, 9.2) if kind == Type.Q5_K else (7.5, 4.6)
        scales = rng.integers(0, 64, (count, 8), dtype=np.uint8)
        # Minima that about center the weights of a group.
        minima = np.clip(scales + rng.integers(-4, 5, (count, 8), dtype=np.int8), 0, 63).astype(
            np.uint8
        )
        scale = goal / (36 * deviation)
        data[:, :2], data[:, 2:4], data[:, 4:16] = (
            halves(scale),
            halves(scale * center),
            pack_scales(scales, minima),
        )
    return data.reshape(rows, -1)


def llama3_divisors(pairs):
    """Frequency divisors of Llama 3.1: 8 for wavelengths over 8192, 1 for those under 2048."""
    wavelengths = 2 * np.pi * 500000.0 ** (np.arange(pairs) / pairs)
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
    elif draw == "half":
        # Divisors of LFM3's full attention, by which half of the pairs do not turn.
        values = np.where(np.arange(shape[0]) < shape[0] // 2, 1.0, 1e30)
    elif draw == "factors":
        values = np.linspace(1, 4, shape[0])
    else:
        values = llama3_divisors(shape[0])
    return values.astype(np.float32)


# ---------------------------------------------------------------- file


def small_vocabulary(count):
    """Control tokens, the single bytes, and one merged pair at the end."""
    controls = ["<unk>", "<s>", "</s>", *(f"<SPECIAL_{id}>" for id in range(3, count - 257))]
    return Vocabulary(
        controls + byte_alphabet() + ["th"], [CONTROL] * len(controls) + [NORMAL] * 257, ["t h"]
    )


def write(path, name, options):
    real, full, pre, bos, eos = vocabulary_of(name)
    count = options.vocabulary or full
    parameters = (options.layers, count, options.format)
    architecture, tensors, keys = (
        nemotron4b(*parameters) if name == "nemotron4b" else published(name, *parameters)
    )
    is_small = options.header or count != full or real is None
    vocabulary = small_vocabulary(count) if is_small else real()
    writer = GGUFWriter(path, architecture)
    writer.add_name(f"{name}, random weights, seed {options.seed}")
    writer.add_file_type(FILE_TYPES[options.format])
    is_published = name == "nemotron4b" and options.layers is None and not is_small
    if is_published:
        writer.add_description(NEMOTRON_DESCRIPTION)
    for key, value in keys.items():
        add = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
            list: writer.add_array,
            str: writer.add_string,
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
    parts += [options.format] if options.format != FORMATS[0] else []
    parts += [f"layers-{'-'.join(map(str, options.layers))}"] if options.layers is not None else []
    parts += [f"vocabulary-{options.vocabulary}"] if options.vocabulary else []
    parts += [f"seed-{options.seed}"] if options.seed != SEED else []
    return "_".join(parts) + (".header.gguf" if options.header else ".gguf")


def arguments():
    numbers = lambda text: [int(number) for number in text.split(",")]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=["nemotron4b", *SIZES])
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0])
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
        "sizes": sha256(published.__code__.co_filename),
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
