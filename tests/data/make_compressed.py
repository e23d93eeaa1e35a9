"""Makes tiny llama models (folders/) with the packages compressed-tensors and nvidia-modelopt.

Usage: `make_compressed.py`, with the packages of make_quantized.py, torch, compressed-tensors and
nvidia-modelopt. Rewrites the files in place, with the same bytes each time. The packages quantize
and dequantize; values are dequantized in f32.
"""

import numpy as np
import torch
from compressed_tensors.compressors import (
    MXFP4PackedCompressor,
    MXFP8QuantizationCompressor,
    NVFP4PackedCompressor,
)
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import dequantize
from modelopt.torch.quantization.qtensor import NVFP4QTensor

from make_models import checksum
from make_quantized import F8_MAX, FLOATS, SHAPES, Folder, ml_dtypes

F4_MAX = 6.0
# Element types of safetensors.
DTYPES = {torch.uint8: "U8", torch.float8_e4m3fn: "F8_E4M3", torch.float32: "F32"}


def array(tensor):
    """Returns the bytes of a tensor as an array of its shape."""
    is_f32 = tensor.dtype == torch.float32
    return tensor.numpy() if is_f32 else tensor.view(torch.uint8).numpy()


def float_args(bits, group, dtype, strategy="group"):
    return QuantizationArgs(
        num_bits=bits, type="float", strategy=strategy, group_size=group, scale_dtype=dtype
    )


NVFP4 = (NVFP4PackedCompressor, float_args(4, 16, torch.float8_e4m3fn, "tensor_group"))
MXFP4 = (MXFP4PackedCompressor, float_args(4, 32, torch.uint8))
MXFP8 = (MXFP8QuantizationCompressor, float_args(8, 32, torch.uint8))


def compressed(folder, name, form):
    """Adds a matrix as compressed-tensors stores it."""
    compressor, args = form
    weights = torch.from_numpy(folder.weights(name))
    largest = weights.unflatten(1, (-1, args.group_size)).abs().amax(2)
    state = {"weight": weights}
    if form is NVFP4:
        state["weight_global_scale"] = F8_MAX * F4_MAX / weights.abs().max().reshape(1)
        scale = largest / F4_MAX * state["weight_global_scale"]
        state["weight_scale"] = scale.to(torch.float8_e4m3fn).float()
    else:
        most = F4_MAX if form is MXFP4 else F8_MAX
        state["weight_scale"] = torch.exp2(torch.ceil(torch.log2(largest / most)))
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    stored = compressor.compress(state, scheme)
    for end, tensor in stored.items():
        folder.put(f"{name}.{end}", DTYPES[tensor.dtype], array(tensor.contiguous()))
    if form is MXFP8:
        numbers = stored["weight"].float()
    else:
        # The sum turns the negative zero, which TabLM has not, to zero.
        numbers = unpack_fp4_from_uint8(stored["weight_packed"], *weights.shape).float() + 0
    scale = stored["weight_scale"]
    if form is NVFP4:
        folder.put(f"{name}.input_global_scale", "F32", np.ones(1, "<f4"))
        scale = scale.float()
    else:
        scale = torch.exp2(scale.float() - 127)
    divisor = stored.get("weight_global_scale")
    values = dequantize(numbers, scale, args=args, dtype=torch.float32, global_scale=divisor)
    # The package itself dequantizes to bfloat16.
    assert torch.equal(
        values.bfloat16(), compressor.decompress(stored, scheme)["weight"].bfloat16()
    )
    folder.checksums[f"{name}.weight"] = checksum(values.numpy())


def fp8(folder, name, largest, scale_kind="F32"):
    """Adds a matrix in FP8 with a scale for each of `largest`."""
    weights = folder.weights(name)
    scale = (largest(np.abs(weights)) / F8_MAX).astype(FLOATS[scale_kind])
    codes = (weights / scale.astype("<f4")).astype(ml_dtypes.float8_e4m3fn)
    folder.put(f"{name}.weight", "F8_E4M3", codes)
    folder.put(f"{name}.weight_scale", scale_kind, scale)
    folder.checksums[f"{name}.weight"] = checksum(codes.astype("<f4") * scale.astype("<f4"))


def compressed_folder(rng):
    folder = Folder(rng)
    forms = dict(
        q_proj=NVFP4, k_proj=NVFP4, v_proj=MXFP4, o_proj=MXFP8, gate_proj=MXFP8, up_proj=MXFP4
    )
    for name in SHAPES:
        part = name.split(".")[-1]
        if part in forms:
            compressed(folder, name, forms[part])
        elif part == "down_proj":
            fp8(folder, name, lambda weights: weights.max(axis=1, keepdims=True), "BF16")
        else:
            folder.floats(f"{name}.weight", folder.weights(name), "BF16")
    kinds = [
        ("nvfp4-pack-quantized", NVFP4, ["re:.*q_proj$", "re:.*k_proj$"]),
        ("mxfp4-pack-quantized", MXFP4, ["re:.*v_proj$", "re:.*up_proj$"]),
        ("mxfp8-quantized", MXFP8, ["re:.*o_proj$", "re:.*gate_proj$"]),
        ("float-quantized", None, ["re:.*down_proj$"]),
    ]
    groups = {}
    for index, (kind, form, targets) in enumerate(kinds):
        weights = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
        if form:
            weights = form[1].model_dump(mode="json", exclude_none=True)
        groups[f"group_{index}"] = {"format": kind, "targets": targets, "weights": weights}
    config = {
        "quant_method": "compressed-tensors",
        "format": "mixed-precision",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": ["lm_head"],
    }
    folder.save("compressed_floats", {"quantization_config": config})


def modelopt_folder(rng):
    folder = Folder(rng)
    layers = {}
    for name in SHAPES:
        part = name.split(".")[-1]
        if part in ("embed_tokens", "lm_head", "o_proj"):
            folder.floats(f"{name}.weight", folder.weights(name), "BF16")
            continue
        if part == "v_proj":
            layers[name] = {"quant_algo": "FP8"}
            fp8(folder, name, lambda weights: weights.max())
        else:
            layers[name] = {"quant_algo": "NVFP4", "group_size": 16}
            weights = torch.from_numpy(folder.weights(name))
            quantized, scale, factor = NVFP4QTensor.quantize(weights, 16)
            packed = quantized._quantized_data
            folder.put(f"{name}.weight", "U8", array(packed))
            folder.put(f"{name}.weight_scale", "F8_E4M3", array(scale))
            folder.put(f"{name}.weight_scale_2", "F32", array(factor.float()))
            values = quantized.dequantize(
                torch.float32, scale=scale, double_scale=factor, block_sizes={-1: 16}
            )
            folder.checksums[f"{name}.weight"] = checksum((values + 0).numpy())
        folder.put(f"{name}.input_scale", "F32", np.float32(0.5).reshape(()))
    config = {
        "quant_method": "modelopt",
        "quant_algo": "MIXED_PRECISION",
        "quantized_layers": layers,
        "ignore": ["lm_head", "model.layers.0.self_attn.o_proj"],
    }
    folder.save("modelopt", {"quantization_config": config})


if __name__ == "__main__":
    compressed_folder(np.random.default_rng(5))
    modelopt_folder(np.random.default_rng(6))
