"""Makes test data of FP8, FP4 and MLX: golden blocks (formats/) and tiny llama models (folders/).

Usage: `make_quantized.py`, with the packages of tests/requirements.txt, ml_dtypes and mlx (its CPU
build is enough). Rewrites the files in place, with the same bytes each time. FP8 and FP4 numbers
are from ml_dtypes; mlx packs, rounds and dequantizes. `make_compressed.py` makes the folders of
compressed-tensors and ModelOpt.

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
AFFINE_BITS = [
    (2, 32, "F16"),
    (2, 64, "BF16"),
    (3, 64, "F16"),
    (3, 128, "BF16"),
    (5, 32, "F32"),
    (5, 64, "BF16"),
    (6, 64, "F16"),
    (6, 128, "BF16"),
]
# Bits and group size of MLX's other modes.
MODES = {"mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}
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


def golden_f8_blocks(rng):
    finite = np.array([code for code in range(256) if code & 0x7F != 0x7F], np.uint8)
    codes = rng.choice(finite, (12, 128))
    codes[:2].reshape(-1)[: len(finite)] = finite
    scales = rng.normal(0, 0.02, len(codes)).astype("<f4")
    scales[:4] = [0, 1, 1e-30, 1e20]
    blocks = np.concatenate([scales.view(np.uint8).reshape(-1, 4), codes], axis=1)
    put_golden("f8_e4m3_128", len(blocks), blocks.tobytes(), f8(codes) * scales[:, None])


def f4(nibbles):
    """Returns the numbers of codes. The sum turns the negative zero, which TabLM does not have, to
    zero."""
    return nibbles.astype(np.uint8).view(ml_dtypes.float4_e2m1fn).astype("<f4") + np.float32(0)


def f4_pairs(codes):
    """Returns the numbers of bytes of two codes, the low nibble first."""
    return f4(np.stack([codes & 15, codes >> 4], -1).reshape(*codes.shape[:-1], -1))


def e8m0(exponents):
    return np.ldexp(np.float64(1), exponents.astype(int) - 127)


def golden_nvfp4(rng):
    """Groups with every scale, then with random ones, and all pairs of numbers."""
    finite = np.array([code for code in range(256) if code & 0x7F != 0x7F], np.uint8)
    scales = np.concatenate([finite, rng.choice(finite, 64)])
    codes = rng.integers(0, 256, (len(scales), 8), dtype=np.uint8)
    codes[:32] = np.arange(256).reshape(32, 8)
    factor, divisor = np.float32(0.0123), np.float32(1)
    values = f4_pairs(codes) * (f8(scales) * factor / divisor)[:, None]
    groups = np.concatenate([scales[:, None], codes], axis=1)
    stored = factor.tobytes() + divisor.tobytes() + groups.tobytes()
    put_golden("nvfp4_f32", len(groups), stored, values)


def golden_mxfp8(rng):
    """Blocks with exponents from the subnormal ones to those whose products are finite, and all
    numbers."""
    finite = np.array([code for code in range(256) if code & 0x7F != 0x7F], np.uint8)
    exponents = np.arange(215, dtype=np.uint8)
    codes = rng.choice(finite, (len(exponents), 32))
    codes[120:128].reshape(-1)[: len(finite)] = finite
    values = (f8(codes) * e8m0(exponents)[:, None]).astype("<f4")
    blocks = np.concatenate([exponents[:, None], codes], axis=1)
    put_golden("mxfp8", len(blocks), blocks.tobytes(), values)


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


def fp8_blocks_folder(rng):
    """A folder in the form of transformers' `fp8`: a scale for each 128 rows and columns."""
    folder = Folder(rng)
    for name in SHAPES:
        weights = folder.weights(name)
        if name in ("model.embed_tokens", "lm_head"):
            folder.floats(f"{name}.weight", weights, "BF16")
            continue
        rows, columns = weights.shape
        largest = np.abs(weights).reshape(-1, min(rows, 128), columns // 128, 128).max((1, 3))
        kind = "BF16" if name.endswith("down_proj") else "F32"
        scale = (largest / 400).astype(FLOATS[kind])
        spread = scale.astype("<f4").repeat(128, 0)[:rows].repeat(128, 1)
        codes = (weights / spread).astype(ml_dtypes.float8_e4m3fn)
        folder.put(f"{name}.weight", "F8_E4M3", codes)
        folder.put(f"{name}.weight_scale_inv", kind, scale)
        folder.checksums[f"{name}.weight"] = checksum(codes.astype("<f4") * spread)
    settings = {"quant_method": "fp8", "activation_scheme": "dynamic"}
    folder.save(
        "fp8_blocks", {"quantization_config": {**settings, "weight_block_size": [128, 128]}}
    )


def mlx_folder(folder_name, rng, forms):
    """A folder in the form of mlx-lm: all matrices quantized but one, some in another format."""
    folder = Folder(rng)
    quantization = {"group_size": 64, "bits": 4, "mode": "affine"}
    for name, form in zip(SHAPES, forms):
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
    folder.save(folder_name, {"quantization": quantization, "quantization_config": quantization})


def mlx_modes_folder(rng):
    """A folder in mxfp4, with matrices in the other modes."""
    folder = Folder(rng)
    names = [*MODES, *MODES, "nvfp4", "affine", "mxfp8"]
    quantization = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
    for name, mode in zip(SHAPES, names):
        bits, group = MODES.get(mode, (6, 64))
        if mode != "mxfp4":
            quantization[name] = {"group_size": group, "bits": bits, "mode": mode}
        weights = mx.array(folder.weights(name)).astype(mx.bfloat16)
        words, scales, *biases = mx.quantize(weights, group_size=group, bits=bits, mode=mode)
        words = np.array(words)
        folder.put(f"{name}.weight", "U32", words)
        if biases:
            scales, biases = (
                np.array(part.astype(mx.float32)).astype(FLOATS["BF16"])
                for part in (scales, biases[0])
            )
            folder.put(f"{name}.scales", "BF16", scales)
            folder.put(f"{name}.biases", "BF16", biases)
            values = dequantize(words, scales, biases, group, bits)
        else:
            folder.put(f"{name}.scales", "U8", np.array(scales))
            # BF16 holds these values exactly.
            values = mx.dequantize(
                mx.array(words), scales, group_size=group, bits=bits, mode=mode
            )
            values = np.array(values.astype(mx.float32))
            if bits == 4:
                values += 0
        folder.checksums[f"{name}.weight"] = checksum(values)
    folder.save(
        "mlx_modes", {"quantization": quantization, "quantization_config": quantization}
    )


def main():
    golden_f8(np.random.default_rng(8))
    for bits, group, kind in [*AFFINE, *AFFINE_BITS]:
        golden_affine(np.random.default_rng([bits, group]), bits, group, kind)
    golden_f8_blocks(np.random.default_rng(7))
    golden_nvfp4(np.random.default_rng(9))
    golden_mxfp8(np.random.default_rng(10))
    fp8_folder(np.random.default_rng(1))
    fp8_blocks_folder(np.random.default_rng(11))
    mlx_folder("mlx", np.random.default_rng(2), [*AFFINE, None, (4, 64, "BF16")])
    mlx_folder("mlx_bits", np.random.default_rng(3), [*AFFINE_BITS, None])
    mlx_modes_folder(np.random.default_rng(4))


if __name__ == "__main__":
    main()
