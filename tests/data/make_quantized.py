"""Makes test data of FP8 and MLX: golden blocks (formats/) and tiny llama models (folders/).

Usage: `make_quantized.py`, with the packages of tests/requirements.txt, ml_dtypes and mlx (its CPU
build is enough). Rewrites the files in place, with the same bytes each time. FP8 numbers are from
ml_dtypes; mlx packs, rounds and dequantizes.

Layout of a golden file: number of blocks (u32), the data that the blocks share and a row of stored
blocks, values (f32). A tiny model is NAME.safetensors and NAME.json, with its config.json and the
checksums of the tensors' values.
"""

import json
from pathlib import Path

import ml_dtypes
import mlx.core as mx
import numpy as np

import safetensors_file
from make_models import checksum

DATA = Path(__file__).parent
FLOATS = {"F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16}
MX = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}
# Bits, group size and type of scales of the tested MLX formats.
AFFINE = [
    (4, 32, "F16"),
    (4, 64, "BF16"),
    (4, 128, "BF16"),
    (8, 32, "BF16"),
    (8, 64, "F16"),
    (8, 128, "BF16"),
    (4, 64, "F32"),
]
F8_MAX = 448.0


def affine_name(bits, group, scales):
    return f"mlx{bits}_{group}_{scales.lower()}"


def f8(codes):
    return codes.view(ml_dtypes.float8_e4m3fn).astype("<f4")


# ---------------------------------------------------------------- golden blocks


def put_golden(name, blocks, stored, values):
    assert np.isfinite(values).all(), name
    (DATA / "formats" / f"{name}.bin").write_bytes(
        np.uint32(blocks).tobytes() + stored + values.astype("<f4").tobytes()
    )


def golden_f8(rng):
    finite = np.array([code for code in range(256) if code & 0x7F != 0x7F], np.uint8)
    codes = np.concatenate([finite, rng.choice(finite, 1024)])
    scale = np.float32(0.0123)
    put_golden("f8_e4m3", len(codes), scale.tobytes() + codes.tobytes(), f8(codes) * scale)


def dequantize(words, scales, biases, group, bits):
    """Dequantizes with mlx in f32."""
    arrays = [
        mx.array(np.ascontiguousarray(array))
        for array in (words, scales.astype("f4"), biases.astype("f4"))
    ]
    return np.array(mx.dequantize(*arrays, group_size=group, bits=bits))


def golden_affine(rng, bits, group, kind):
    """Blocks with extreme and ordinary scales and all quants, then blocks quantized by mlx."""
    dtype = FLOATS[kind]
    extreme = [
        0.0,
        -0.0,
        np.finfo("f2").smallest_subnormal if kind == "F16" else 1e-30,
        1.0,
        -1.0,
        200.0,
        -200.0,
        0.0123,
    ]
    per_group = group * bits // 32
    rows = 24
    words = rng.integers(0, 1 << 32, (rows, per_group), dtype=np.uint32)
    words[-1], words[-2] = 0, 0xFFFFFFFF
    scales = np.array([extreme[row % 8] for row in range(rows)], dtype).reshape(-1, 1)
    biases = np.array([extreme[row * 3 // 8 % 8] for row in range(rows)], dtype).reshape(-1, 1)
    random = mx.array(rng.normal(0, 0.02, (rows, group)).astype("f4")).astype(MX[kind])
    mlx_words, *mlx_pair = mx.quantize(random, group_size=group, bits=bits)
    mlx_scales, mlx_biases = (np.array(part.astype(mx.float32)).astype(dtype) for part in mlx_pair)
    words = np.concatenate([words, np.array(mlx_words)])
    scales, biases = np.concatenate([scales, mlx_scales]), np.concatenate([biases, mlx_biases])
    values = dequantize(words, scales, biases, group, bits)
    blocks = np.concatenate(
        [part.view(np.uint8).reshape(len(words), -1) for part in (scales, biases, words)], axis=1
    )
    put_golden(affine_name(bits, group, kind), len(blocks), blocks.tobytes(), values)


# ---------------------------------------------------------------- tiny llamas

HIDDEN, FFN, VOCABULARY = 128, 256, 96
SHAPES = {
    "model.embed_tokens": (VOCABULARY, HIDDEN),
    "model.layers.0.self_attn.q_proj": (HIDDEN, HIDDEN),
    "model.layers.0.self_attn.k_proj": (HIDDEN // 2, HIDDEN),
    "model.layers.0.self_attn.v_proj": (HIDDEN // 2, HIDDEN),
    "model.layers.0.self_attn.o_proj": (HIDDEN, HIDDEN),
    "model.layers.0.mlp.gate_proj": (FFN, HIDDEN),
    "model.layers.0.mlp.up_proj": (FFN, HIDDEN),
    "model.layers.0.mlp.down_proj": (HIDDEN, FFN),
    "lm_head": (VOCABULARY, HIDDEN),
}
NORMS = {
    "model.layers.0.input_layernorm": "F32",
    "model.layers.0.post_attention_layernorm": "BF16",
    "model.norm": "F16",
}


class Folder:
    """The tensors of a folder, and the checksums of their values."""

    def __init__(self, rng):
        self.rng, self.tensors, self.checksums = rng, [], {}
        for name, kind in NORMS.items():
            self.floats(f"{name}.weight", rng.uniform(0.5, 1.5, HIDDEN), kind)

    def put(self, name, kind, array):
        self.tensors.append((name, kind, array))

    def floats(self, name, values, kind):
        array = np.asarray(values).astype(FLOATS[kind])
        self.put(name, kind, array)
        self.checksums[name] = checksum(array.astype("<f4"))

    def weights(self, name):
        return self.rng.normal(0, 1 / np.sqrt(SHAPES[name][1]), SHAPES[name]).astype("f4")

    def save(self, name, config):
        config = {
            "architectures": ["LlamaForCausalLM"],
            "hidden_act": "silu",
            "hidden_size": HIDDEN,
            "intermediate_size": FFN,
            "max_position_embeddings": 64,
            "model_type": "llama",
            "num_attention_heads": 4,
            "num_hidden_layers": 1,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "vocab_size": VOCABULARY,
            **config,
        }
        folder = DATA / "folders"
        folder.mkdir(exist_ok=True)
        safetensors_file.save(folder / f"{name}.safetensors", self.tensors)
        known = {"config": config, "values": dict(sorted(self.checksums.items()))}
        (folder / f"{name}.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def fp8_folder(rng):
    """A folder in the form of ModelOpt (a scale per matrix, some modules in BF16, scales of
    activations and of the KV cache) and of compressed-tensors (BF16 scales per row)."""
    folder = Folder(rng)
    scales = {
        "q_proj": ("F32", ()),
        "k_proj": ("F32", (1,)),
        "v_proj": ("BF16", (-1, 1)),
        "o_proj": ("F32", (-1,)),
        "gate_proj": ("BF16", ()),
        "down_proj": ("F16", (-1, 1)),
    }
    for name in SHAPES:
        weights, part = folder.weights(name), name.split(".")[-1]
        if part not in scales:
            folder.floats(f"{name}.weight", weights, "BF16")
            continue
        kind, shape = scales[part]
        largest = np.abs(weights).max(axis=1) if -1 in shape else np.abs(weights).max()
        scale = (largest / F8_MAX).astype(FLOATS[kind]).reshape(shape)
        f32_scale = scale.astype("<f4").reshape((-1, 1) if -1 in shape else ())
        codes = np.clip(weights / f32_scale, -F8_MAX, F8_MAX).astype(ml_dtypes.float8_e4m3fn)
        folder.put(f"{name}.weight", "F8_E4M3", codes)
        folder.put(f"{name}.weight_scale", kind, scale)
        folder.put(f"{name}.input_scale", "F32", np.float32(0.5).reshape(()))
        folder.checksums[f"{name}.weight"] = checksum(codes.astype("<f4") * f32_scale)
    for part in "kv":
        folder.put(
            f"model.layers.0.self_attn.{part}_proj.{part}_scale", "F32", np.float32(1).reshape(())
        )
    folder.save(
        "fp8",
        {
            "quantization_config": {
                "quant_method": "modelopt",
                "quant_algo": "FP8",
                "kv_cache_scheme": {"num_bits": 8, "type": "float"},
            }
        },
    )


def mlx_folder(rng):
    """A folder in the form of mlx-lm: all matrices quantized but one, some in another format."""
    folder = Folder(rng)
    parts = dict(zip(SHAPES, [*AFFINE, None, (4, 64, "BF16")]))
    quantization = {"group_size": 64, "bits": 4, "mode": "affine"}
    for name, form in parts.items():
        if form is None:
            quantization[name] = False
            folder.floats(f"{name}.weight", folder.weights(name), "BF16")
            continue
        bits, group, kind = form
        if (bits, group) != (4, 64):
            quantization[name] = {"group_size": group, "bits": bits}
        weights = mx.array(folder.weights(name)).astype(MX[kind])
        words, *pair = mx.quantize(weights, group_size=group, bits=bits)
        scales, biases = (np.array(part.astype(mx.float32)).astype(FLOATS[kind]) for part in pair)
        words = np.array(words)
        for end, dtype, array in [
            ("weight", "U32", words),
            ("scales", kind, scales),
            ("biases", kind, biases),
        ]:
            folder.put(f"{name}.{end}", dtype, array)
        values = dequantize(words, scales, biases, group, bits)
        folder.checksums[f"{name}.weight"] = checksum(values)
    folder.save("mlx", {"quantization": quantization, "quantization_config": quantization})


def main():
    golden_f8(np.random.default_rng(8))
    for bits, group, kind in AFFINE:
        golden_affine(np.random.default_rng([bits, group]), bits, group, kind)
    fp8_folder(np.random.default_rng(1))
    mlx_folder(np.random.default_rng(2))


if __name__ == "__main__":
    main()
