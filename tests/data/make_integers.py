"""Makes tiny Qwen 3 models with weights of integers (folders/): compressed-tensors, AWQ and GPTQ.

Usage: `make_integers.py AUTOAWQ GPTQMODEL`, with torch, safetensors, compressed-tensors 0.20.1 and
the unpacked sources of autoawq 0.2.9 and gptqmodel 7.7.0, of which single modules are loaded.
Rewrites the files in place, with the same bytes each time. The packages dequantize; the checksums
are of their results in f32. With GPTQ's act-order they are rounded to f16, the type of the scales.

A model is NAME.safetensors and NAME.json, with its config.json and the checksums of the tensors'
values.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from compressed_tensors.compressors.naive_quantized.base import IntQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from safetensors.torch import save_file

DATA = Path(__file__).parent
HIDDEN, FFN, VOCABULARY, HEADS, HEAD = 128, 256, 96, 4, 32
FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
LAYER = "model.layers.0."
MODULES = {
    "self_attn.q_proj": (HEADS * HEAD, HIDDEN),
    "self_attn.k_proj": (2 * HEAD, HIDDEN),
    "self_attn.v_proj": (2 * HEAD, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * HEAD),
    "mlp.gate_proj": (FFN, HIDDEN),
    "mlp.up_proj": (FFN, HIDDEN),
    "mlp.down_proj": (HIDDEN, FFN),
}
NORMS = {
    "input_layernorm": HIDDEN,
    "post_attention_layernorm": HIDDEN,
    "self_attn.q_norm": HEAD,
    "self_attn.k_norm": HEAD,
}


def checksum(values):
    """Returns two sums over the bits of f32 values modulo 2^64, the second weighted by position."""
    bits = values.to(torch.float32).contiguous().numpy().view(np.uint32).reshape(-1)
    bits, place = bits.astype(np.uint64), np.arange(1, bits.size + 1, dtype=np.uint64)
    plain, placed = bits.sum(dtype=np.uint64), (bits * place).sum(dtype=np.uint64)
    return f"{int(plain):016x}{int(placed):016x}"


def load_module(name, path, **stubs):
    """Loads a module by its file, with the given modules in place of those that it imports."""
    for stub, content in stubs.items():
        module = types.ModuleType(stub.replace("__", "."))
        vars(module).update(content)
        module.__path__ = []
        sys.modules[module.__name__] = module
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Folder:
    """The tensors of a folder, and the checksums of their values."""

    def __init__(self, seed):
        self.random = torch.Generator().manual_seed(seed)
        self.tensors, self.checksums = {}, {}
        for name in ["model.embed_tokens", "lm_head"]:
            weights = torch.randn(VOCABULARY, HIDDEN, generator=self.random) / HIDDEN**0.5
            self.floats(f"{name}.weight", weights.to(torch.bfloat16))
        norms = {f"{LAYER}{name}": size for name, size in NORMS.items()}
        for name, size in {**norms, "model.norm": HIDDEN}.items():
            self.floats(f"{name}.weight", 0.5 + torch.rand(size, generator=self.random))

    def floats(self, name, values):
        self.tensors[name], self.checksums[name] = values, checksum(values)

    def integers(self, low, high, shape):
        return torch.randint(low, high, shape, generator=self.random, dtype=torch.int32)

    def scales(self, shape, bits, columns, kind):
        scales = 1.5 + torch.rand(shape, generator=self.random)
        return (scales / (columns**0.5 * 2 ** (bits - 1))).to(FLOATS[kind])

    def put(self, module, parts, values):
        for end, tensor in parts.items():
            self.tensors[f"{LAYER}{module}.{end}"] = tensor.contiguous()
        self.checksums[f"{LAYER}{module}.weight"] = checksum(values)

    def save(self, name, quantization):
        config = {
            "architectures": ["Qwen3ForCausalLM"],
            "attention_bias": False,
            "head_dim": HEAD,
            "hidden_act": "silu",
            "hidden_size": HIDDEN,
            "intermediate_size": FFN,
            "max_position_embeddings": 64,
            "model_type": "qwen3",
            "num_attention_heads": HEADS,
            "num_hidden_layers": 1,
            "num_key_value_heads": 2,
            "quantization_config": quantization,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "vocab_size": VOCABULARY,
        }
        save_file(self.tensors, DATA / "folders" / f"{name}.safetensors", {"format": "pt"})
        known = {"config": config, "values": dict(sorted(self.checksums.items()))}
        text = json.dumps(known, indent=1) + "\n"
        (DATA / "folders" / f"{name}.json").write_text(text, encoding="utf-8")


# ---------------------------------------------------------------- compressed-tensors

# Bits, group size, symmetric, type of scales, and whether weights are packed.
COMPRESSED = {
    "self_attn.q_proj": (4, 32, True, "BF16", True),
    "self_attn.k_proj": (4, 64, False, "F16", True),
    "self_attn.v_proj": (8, 64, False, "F32", True),
    "self_attn.o_proj": (4, None, True, "F32", True),
    "mlp.gate_proj": (8, None, True, "BF16", False),
    "mlp.up_proj": (8, None, False, "F16", False),
    "mlp.down_proj": (4, 128, False, "BF16", True),
}


def compressed():
    folder, groups = Folder(1), {}
    for index, (module, (bits, size, symmetric, kind, packed)) in enumerate(COMPRESSED.items()):
        rows, columns = MODULES[module]
        args = QuantizationArgs(
            num_bits=bits,
            type="int",
            symmetric=symmetric,
            strategy="group" if size else "channel",
            group_size=size,
        )
        scheme = QuantizationScheme(targets=[f"re:.*{module}"], weights=args)
        shape = (rows, columns // size if size else 1)
        middle = 1 << (bits - 1)
        quants = folder.integers(-middle, middle, (rows, columns)).to(torch.int8)
        parts = {"weight_scale": folder.scales(shape, bits, columns, kind)}
        if packed:
            parts["weight_packed"] = pack_to_int32(quants, bits)
            parts["weight_shape"] = torch.tensor([rows, columns])
        else:
            parts["weight"] = quants
        if not symmetric:
            zeros = folder.integers(-middle, middle, shape).to(torch.int8)
            parts["weight_zero_point"] = (
                pack_to_int32(zeros, bits, packed_dim=0) if packed else zeros
            )
        in_f32 = {**parts, "weight_scale": parts["weight_scale"].to(torch.float32)}
        compressor = PackedQuantizationCompressor if packed else IntQuantizationCompressor
        folder.put(module, parts, compressor.decompress(in_f32, scheme)["weight"])
        weights = {
            key: value
            for key, value in args.model_dump(mode="json").items()
            if key in ["num_bits", "type", "symmetric", "strategy", "group_size"]
        }
        groups[f"group_{index}"] = {
            "format": "pack-quantized" if packed else "int-quantized",
            "targets": [f"re:.*{module}"],
            "weights": weights,
        }
    folder.save(
        "compressed_integers",
        {
            "quant_method": "compressed-tensors",
            "format": "mixed-precision",
            "config_groups": groups,
            "ignore": ["lm_head"],
        },
    )


# ---------------------------------------------------------------- AWQ and GPTQ


def pack(numbers, bits, axis, order=range(32)):
    """Packs unsigned numbers into words along an axis, number order[i] of a word at position i."""
    count = 32 // bits
    words = numbers.to(torch.int64).movedim(axis, -1).unflatten(-1, (-1, count))
    shifted = [words[..., order[i]] << (i * bits) for i in range(count)]
    words = torch.stack(shifted).sum(0)
    return torch.where(words < 1 << 31, words, words - (1 << 32)).to(torch.int32).movedim(-1, axis)


def awq(packing):
    folder = Folder(2)
    for module, (outputs, inputs) in MODULES.items():
        size, kind = {"mlp.down_proj": (128, "BF16")}.get(module, (32, "F16"))
        quants = folder.integers(0, 16, (inputs, outputs))
        zeros = folder.integers(0, 16, (inputs // size, outputs))
        parts = {
            "qweight": pack(quants, 4, 1, AWQ_ORDER),
            "qzeros": pack(zeros, 4, 1, AWQ_ORDER),
            "scales": folder.scales(zeros.shape, 4, inputs, kind),
        }
        scales = parts["scales"].to(torch.float32)
        values = packing.dequantize_gemm(parts["qweight"], parts["qzeros"], scales, 4, size)
        folder.put(module, parts, values.t())
    quantization = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": 32,
        "version": "gemm",
        "zero_point": True,
        "modules_to_not_convert": None,
    }
    folder.save("awq", quantization)


def gptq(dequant, name, checkpoint_format, act_order):
    """All modules have 4 bits and groups of 32, except for three without act-order."""
    folder = Folder(3)
    forms = {
        "self_attn.k_proj": (8, 64),
        "self_attn.v_proj": (2, 32),
        "mlp.down_proj": (4, 128),
    }
    quantization = {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": 32,
        "desc_act": act_order,
        "sym": False,
        "checkpoint_format": checkpoint_format,
    }
    for module, (outputs, inputs) in MODULES.items():
        bits, size = (4, 32) if act_order else forms.get(module, (4, 32))
        groups = torch.arange(inputs, dtype=torch.int32) // size
        if act_order:
            groups = groups[torch.randperm(inputs, generator=folder.random)]
        quants = folder.integers(0, 1 << bits, (inputs, outputs))
        zeros = folder.integers(0, 1 << bits, (inputs // size, outputs))
        parts = {
            "qweight": pack(quants, bits, 0),
            "qzeros": pack(zeros, bits, 1),
            "scales": folder.scales(zeros.shape, bits, inputs, "F16"),
            "g_idx": groups,
        }
        path = DATA / "folders" / "module.tmp"
        save_file({f"m.{end}": tensor.contiguous() for end, tensor in parts.items()}, path)
        form = {**quantization, "bits": bits}
        values = dequant.convert_gptq_file(path, torch.float32, form, "cpu")["m.weight"]
        path.unlink()
        folder.put(module, parts, values.to(torch.float16) if act_order else values)
    folder.save(name, quantization)


def main():
    autoawq, gptqmodel = map(Path, sys.argv[1:])
    compressed()
    awq(load_module("packing_utils", autoawq / "awq/utils/packing_utils.py"))
    nothing = {"__getattr__": lambda name: lambda *arguments: ()}
    planar = "gptqmodel.utils.planar_packing"
    for package in ["gptqmodel", "gptqmodel.utils", "gptqmodel.quantization"]:
        sys.modules[package] = types.ModuleType(package)
    load_module(planar, gptqmodel / "gptqmodel/utils/planar_packing.py")
    dequant = load_module(
        "gptqmodel.utils.model_dequant",
        gptqmodel / "gptqmodel/utils/model_dequant.py",
        gptqmodel__utils__logger=nothing,
        gptqmodel__quantization__dtype=nothing,
    )
    gptq(dequant, "gptq", "gptq", act_order=False)
    gptq(dequant, "gptq_act_order", "gptq_v2", act_order=True)


if __name__ == "__main__":
    main()
