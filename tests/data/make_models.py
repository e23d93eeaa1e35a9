"""Makes the model files that tests derive from SmolLM2: `make_models.py [GGUF [FOLDER]]`.

All files are made with packages that are independent of this repository (gguf, numpy, safetensors,
tokenizers; pinned in tests/requirements.txt):

- SmolLM2 requantized to Q8_0, Q4_0, Q5_0 and Q5_1, as GGUF,
- the same weights as safetensors folders, in F32 (two shards and an index) and in BF16 (one file),
- tiny random llama models with rows of 256 and 512 weights in Q4_K, Q5_K and Q6_K, each with a copy
  in F32 as dequantized by the package gguf.

The files are put into FOLDER/1 (default: `derived/1` in the cache) together with values.json, the
checksums of all tensors of all GGUF files as the package gguf dequantizes them.
"""

import json
import sys
from pathlib import Path

import numpy as np
from derived import cache, inputs, once, say, sha256, write_json
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFWriter, quants
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

VERSION = "1"
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# llama.cpp's file types: the predominant format of a file.
FILE_TYPES = {
    Type.F32: 0,
    Type.Q4_0: 2,
    Type.Q8_0: 7,
    Type.Q5_0: 8,
    Type.Q5_1: 9,
    Type.Q4_K: 14,
    Type.Q5_K: 16,
    Type.Q6_K: 18,
}
CONTROL = 3  # token type of special tokens
# Text that the tiny tokenizers are trained on. It determines their vocabularies, so it must not
# change.
TRAINING_TEXT = """\
Makes the model files that tests derive from SmolLM2: `make_models.py [GGUF [FOLDER]]`.

Everything is made with packages that are independent of this repository (gguf, numpy,
safetensors, tokenizers; pinned in tests/requirements.txt):

- SmolLM2 requantised to Q8_0, Q4_0, Q5_0 and Q5_1 GGUF,
- the same weights as a safetensors folder, in F32 (two shards and an index) and in BF16 (one file),
- tiny random llama models with rows of 256 and 512 in Q4_K, Q5_K and Q6_K, each with a twin in
  F32 that the gguf package dequantised.

The result lies in FOLDER/1 (default: the cache's `derived/1`), with `values.json`, a checksum \
of what
the gguf package makes of every tensor of every GGUF file; derived.py says when it is made anew.
"""

HF_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def checksum(values):
    """Returns two sums over the bits of f32 values modulo 2^64, the second weighted by position."""
    bits = values.astype("<f4", copy=False).view(np.uint32).reshape(-1)
    plain, placed = np.uint64(0), np.uint64(0)
    for start in range(0, len(bits), 1 << 20):
        piece = bits[start : start + (1 << 20)].astype(np.uint64)
        place = np.arange(start + 1, start + 1 + len(piece), dtype=np.uint64)
        with np.errstate(over="ignore"):
            plain += piece.sum(dtype=np.uint64)
            placed += (piece * place).sum(dtype=np.uint64)
    return f"{int(plain):016x}{int(placed):016x}"


def checksums(path):
    """Returns the checksum of every tensor of a GGUF file as dequantized by the package gguf."""
    reader = GGUFReader(path)
    return {
        tensor.name: checksum(quants.dequantize(tensor.data, tensor.tensor_type))
        for tensor in reader.tensors
    }


# ---------------------------------------------------------------- GGUF


def copy_metadata(reader, writer, file_type):
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        value = file_type if key == "general.file_type" else field.contents()
        sub_type = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(key, value, field.types[0], sub_type)


def write_gguf(path, architecture, fill, tensors, tensors_per_part=0):
    """Writes a GGUF file; `tensors` are (name, array as stored, type)."""
    writer = GGUFWriter(path, architecture, split_max_tensors=tensors_per_part)
    fill(writer)
    for name, data, kind in tensors:
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def requantize(reader, weights, kind, path):
    def tensors():
        for name, data in weights.items():
            if data.ndim == 2:
                yield name, quants.quantize(data, kind), kind
            else:
                yield name, data, Type.F32

    write_gguf(
        path, "llama", lambda writer: copy_metadata(reader, writer, FILE_TYPES[kind]), tensors()
    )


# ---------------------------------------------------------------- safetensors folder


def rotate_half_order(data, head_count):
    """Reorders rows for RoPE: pairs are adjacent in GGUF, half a head apart in HF files."""
    rows, columns = data.shape
    return np.ascontiguousarray(
        data.reshape(head_count, rows // head_count // 2, 2, columns)
        .swapaxes(1, 2)
        .reshape(rows, columns)
    )


def hf_weights(weights, head_count, kv_head_count):
    out = {}
    for name, data in weights.items():
        if name == "token_embd.weight":
            out["model.embed_tokens.weight"] = data
        elif name == "output_norm.weight":
            out["model.norm.weight"] = data
        else:
            _, layer, part, _ = name.split(".")
            if part == "attn_q":
                data = rotate_half_order(data, head_count)
            elif part == "attn_k":
                data = rotate_half_order(data, kv_head_count)
            out[f"model.layers.{layer}.{HF_NAMES[part]}.weight"] = data
    return out


def save_tokenizer(folder, tokens, types, merges):
    """Writes tokenizer.json for a byte-level vocabulary with SmolLM2's pre-tokenizer."""
    merges = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(
        models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=merges)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [
        AddedToken(token, special=True, normalized=False)
        for token, kind in zip(tokens, types)
        if kind == CONTROL
    ]
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def write_folder_text(folder, reader, dtype):
    get = lambda key: reader.get_field(key).contents()
    head_count = get("llama.attention.head_count")
    hidden = get("llama.embedding_length")
    tokens = get("tokenizer.ggml.tokens")
    bos, eos = get("tokenizer.ggml.bos_token_id"), get("tokenizer.ggml.eos_token_id")
    unknown, padding = get("tokenizer.ggml.unknown_token_id"), get(
        "tokenizer.ggml.padding_token_id"
    )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": get("llama.feed_forward_length"),
        "max_position_embeddings": get("llama.context_length"),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": head_count,
        "num_hidden_layers": get("llama.block_count"),
        "num_key_value_heads": get("llama.attention.head_count_kv"),
        "pad_token_id": padding,
        "rms_norm_eps": float(str(np.float32(get("llama.attention.layer_norm_rms_epsilon")))),
        "rope_scaling": None,
        "rope_theta": float(get("llama.rope.freq_base")),
        "tie_word_embeddings": True,
        "torch_dtype": dtype,
        "vocab_size": get("llama.vocab_size"),
    }
    write_json(folder / "config.json", config)
    write_json(
        folder / "generation_config.json",
        {
            "_from_model_config": True,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "pad_token_id": padding,
        },
    )
    template = get("tokenizer.chat_template")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "bos_token": tokens[bos],
            "chat_template": template,
            "clean_up_tokenization_spaces": False,
            "eos_token": tokens[eos],
            "model_max_length": get("llama.context_length"),
            "pad_token": tokens[padding],
            "tokenizer_class": "GPT2Tokenizer",
            "unk_token": tokens[unknown],
        },
    )
    save_tokenizer(folder, tokens, get("tokenizer.ggml.token_type"), get("tokenizer.ggml.merges"))


def write_f32_folder(folder, reader, weights):
    folder.mkdir()
    write_folder_text(folder, reader, "float32")
    names = list(weights)
    half = len(names) // 2
    index, total = {}, 0
    for number, part in enumerate([names[:half], names[half:]], 1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, metadata={"format": "pt"})
        index.update({name: file for name in part})
        total += sum(weights[name].nbytes for name in part)
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))},
    )


def write_bf16_folder(folder, reader, weights):
    """Writes the BF16 file directly, because numpy has no bfloat16."""
    folder.mkdir()
    write_folder_text(folder, reader, "bfloat16")
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, data in weights.items():
        header[name] = {
            "dtype": "BF16",
            "shape": list(data.shape),
            "data_offsets": [offset, offset + data.size * 2],
        }
        offset += data.size * 2
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for data in weights.values():
            file.write(quants.quantize(data, Type.BF16).tobytes())


# ---------------------------------------------------------------- tiny random models


def tiny_tokenizer(vocab_size, template):
    """Trains a small byte-level BPE tokenizer and returns its tokens, types and merges."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TRAINING_TEXT, template] * 4, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    tokens = [token for token, _ in sorted(learnt["vocab"].items(), key=lambda item: item[1])]
    tokens += [f"<unused{i}>" for i in range(vocab_size - len(tokens))]
    types = [CONTROL if token in special or token.startswith("<unused") else 1 for token in tokens]
    return (
        tokens,
        types,
        [" ".join(merge) if isinstance(merge, list) else merge for merge in learnt["merges"]],
    )


def pack_scales(scales, minima):
    """Packs eight 6-bit scales and minima per block into twelve bytes."""
    low = np.concatenate(
        [scales[:, :4] | ((scales[:, 4:] >> 4) << 6), minima[:, :4] | ((minima[:, 4:] >> 4) << 6)],
        axis=1,
    )
    return np.concatenate([low, (scales[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4)], axis=1).astype(
        np.uint8
    )


def halves(values):
    return values.astype(np.float16).reshape(-1, 1).view(np.uint8)


def random_blocks(rng, kind, rows, columns):
    """Random valid blocks whose weights have a magnitude of about 1 / sqrt(columns)."""
    count = rows * columns // 256
    goal = 1 / np.sqrt(columns)
    some = lambda n: rng.integers(0, 256, (count, n), dtype=np.uint8)
    spread = rng.uniform(0.5, 1.5, count)
    if kind == Type.Q6_K:
        d = goal * spread / (18.5 * 74)
        return np.concatenate([some(128), some(64), some(16), halves(d)], axis=1).reshape(rows, -1)
    levels = 16 if kind == Type.Q4_K else 32
    scales = rng.integers(0, 64, (count, 8), dtype=np.uint8)
    # Minima that about center the weights of a group.
    minima = np.clip(scales + rng.integers(-4, 5, (count, 8)), 0, 63).astype(np.uint8)
    d = goal * spread / (36 * levels * 0.29)
    head = [halves(d), halves(d * (levels - 1) / 2), pack_scales(scales, minima)]
    rest = [some(128)] if kind == Type.Q4_K else [some(32), some(128)]
    return np.concatenate(head + rest, axis=1).reshape(rows, -1)


def tiny_model(folder, kind, hidden, template):
    layers, ffn, heads, kv_heads, vocab = 2, 512, 4, 2, 512
    kv = hidden // heads * kv_heads
    rng = np.random.default_rng([hidden, int(kind)])
    shapes = {"token_embd": (vocab, hidden)}
    for layer in range(layers):
        for part, shape in {
            "attn_q": (hidden, hidden),
            "attn_k": (kv, hidden),
            "attn_v": (kv, hidden),
            "attn_output": (hidden, hidden),
            "ffn_gate": (ffn, hidden),
            "ffn_up": (ffn, hidden),
            "ffn_down": (hidden, ffn),
        }.items():
            shapes[f"blk.{layer}.{part}"] = shape
    # One of the two sizes has a separate output matrix, the other ties it to the embedding.
    if hidden == 256:
        shapes["output"] = (vocab, hidden)
    stored = {
        f"{name}.weight": (random_blocks(rng, kind, *shape), kind) for name, shape in shapes.items()
    }
    for name in ["output_norm"] + [
        f"blk.{layer}.{part}_norm" for layer in range(layers) for part in ("attn", "ffn")
    ]:
        stored[f"{name}.weight"] = (rng.uniform(0.5, 1.5, hidden).astype(np.float32), Type.F32)
    tokens, types, merges = tiny_tokenizer(vocab, template)

    def fill(file_type):
        def fill(writer):
            writer.add_name(f"tiny {kind.name} {hidden}")
            writer.add_block_count(layers)
            writer.add_context_length(512)
            writer.add_embedding_length(hidden)
            writer.add_feed_forward_length(ffn)
            writer.add_head_count(heads)
            writer.add_head_count_kv(kv_heads)
            writer.add_rope_freq_base(10000.0)
            writer.add_rope_dimension_count(hidden // heads)
            writer.add_layer_norm_rms_eps(1e-5)
            writer.add_vocab_size(vocab)
            writer.add_file_type(file_type)
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre("smollm")
            writer.add_token_list(tokens)
            writer.add_token_types(types)
            writer.add_token_merges(merges)
            writer.add_bos_token_id(1)
            writer.add_eos_token_id(2)
            writer.add_unk_token_id(0)
            writer.add_pad_token_id(2)
            writer.add_add_bos_token(False)
            writer.add_add_space_prefix(False)
            writer.add_chat_template(template)

        return fill

    name = f"tiny-{kind.name}-{hidden}"
    write_gguf(
        folder / f"{name}.gguf",
        "llama",
        fill(FILE_TYPES[kind]),
        [(key, data, kind) for key, (data, kind) in stored.items()],
    )
    plain = [(key, quants.dequantize(data, kind), Type.F32) for key, (data, kind) in stored.items()]
    write_gguf(folder / f"{name}.F32.gguf", "llama", fill(FILE_TYPES[Type.F32]), plain)


# ---------------------------------------------------------------- main


def make(model, folder):
    if sha256(model) != MODEL_SHA256:
        sys.exit(f"make_models: {model}: found another file, expected sha256 {MODEL_SHA256}")
    say(f"dequantizing {model.name}")
    reader = GGUFReader(model)
    weights = {
        tensor.name: quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors
    }
    for kind in (Type.Q8_0, Type.Q4_0, Type.Q5_0, Type.Q5_1):
        say(f"requantizing to {kind.name}")
        requantize(reader, weights, kind, folder / f"SmolLM2-135M-Instruct.{kind.name}.gguf")
    get = lambda key: reader.get_field(key).contents()
    hf = hf_weights(
        weights, get("llama.attention.head_count"), get("llama.attention.head_count_kv")
    )
    say("safetensors folders in F32 and BF16")
    write_f32_folder(folder / "SmolLM2-135M-Instruct-F32", reader, hf)
    write_bf16_folder(folder / "SmolLM2-135M-Instruct-BF16", reader, hf)
    say("tiny random models")
    for kind in (Type.Q4_K, Type.Q5_K, Type.Q6_K):
        for hidden in (256, 512):
            tiny_model(folder, kind, hidden, get("tokenizer.chat_template"))
    say("dequantizing the files")
    write_json(
        folder / "values.json",
        {path.name: checksums(path) for path in sorted(folder.glob("*.gguf"))},
    )


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--verify"]
    model = Path(arguments[0]) if arguments else cache() / "models" / MODEL
    parent = Path(arguments[1]) if len(arguments) > 1 else cache() / "derived"
    here = Path(__file__).parent
    made_from = inputs([__file__, here / "derived.py"], model=MODEL_SHA256)
    once(parent / VERSION, made_from, lambda folder: make(model, folder))


if __name__ == "__main__":
    main()
