"""Makes tests/fuzz/corpus/ for container formats: small files with every structure of a header.

Usage: `make_fuzz_corpus.py`, with the packages of tests/requirements.txt. Writes the same bytes
each time.
"""

import json
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, quants
from safetensors.numpy import save

CORPUS = Path(__file__).parent.parent / "fuzz" / "corpus"


def put(target, name, data):
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def filled_with_ones(tensors):
    """Returns a safetensors file with tensors of (name, type, shape), in which all bytes are 1."""
    element_bytes = {"U8": 1, "F8_E4M3": 1, "F16": 2, "BF16": 2, "F32": 4, "U32": 4}
    header, end = {}, 0
    for name, kind, shape in tensors:
        start, end = end, end + int(np.prod(shape)) * element_bytes[kind]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"\1" * end


def make_gguf(name, keys, tensors, alignment=None):
    path = CORPUS / "gguf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    keys(writer)
    for tensor, data, kind in tensors:
        writer.add_tensor(tensor, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def every_key(writer):
    for kind in "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float32 float64".split():
        getattr(writer, f"add_{kind}")(kind, 1)
    writer.add_bool("bool", True)
    writer.add_string("string", "text")
    writer.add_array("strings", ["a", "bc", ""])
    writer.add_array("floats", [0.5, -1.0])
    writer.add_array("ints", [1, -2, 3])
    writer.add_array("bools", [True, False])


def main():
    weights = np.linspace(-1, 1, 512, dtype=np.float32).reshape(2, 256)
    legacy = (Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.BF16, Type.F16, Type.F32)
    make_gguf("keys", every_key, [])
    make_gguf(
        "formats",
        lambda writer: None,
        [(kind.name, quants.quantize(weights, kind), kind) for kind in legacy],
    )
    sizes = {Type.Q4_K: 144, Type.Q5_K: 176, Type.Q6_K: 210}
    blocks = [(kind.name, np.full((2, size), 17, np.uint8), kind) for kind, size in sizes.items()]
    make_gguf("k-quants", every_key, blocks, alignment=64)
    put("gguf", "html", b"<!DOCTYPE html><html></html>")

    put("safetensors", "empty", save({}))
    put(
        "safetensors",
        "types",
        save(
            {kind: np.ones((2, 3), kind) for kind in ("float32", "float16", "int64", "bool")},
            {"format": "pt"},
        ),
    )
    put(
        "safetensors",
        "scalar",
        save({"s": np.array(1.0, np.float32), "v": np.ones(33, np.float16)}),
    )
    put("safetensors", "html", b"<html>")
    for name, tensors in {
        "fp8": [
            ("a.weight", "F8_E4M3", (2, 3)),
            ("a.weight_scale", "F32", ()),
            ("a.input_scale", "F32", ()),
        ],
        "fp8-rows": [("a.weight", "F8_E4M3", (2, 3)), ("a.weight_scale", "BF16", (2, 1))],
        "mlx": [
            ("a.weight", "U32", (2, 8)),
            ("a.scales", "F16", (2, 2)),
            ("a.biases", "F16", (2, 2)),
        ],
        "mlx-own": [
            ("m.weight", "U32", (2, 16)),
            ("m.scales", "F32", (2, 1)),
            ("m.biases", "F32", (2, 1)),
        ],
        "mlx-3bit": [
            ("q.weight", "U32", (2, 6)),
            ("q.scales", "BF16", (2, 1)),
            ("q.biases", "BF16", (2, 1)),
        ],
        "mlx-modes": [
            ("n.weight", "U32", (2, 8)),
            ("n.scales", "U8", (2, 1)),
            ("p.weight", "U32", (2, 4)),
            ("p.scales", "U8", (2, 2)),
        ],
        "packed": [
            ("a.weight_packed", "U8", (2, 8)),
            ("a.weight_scale", "F8_E4M3", (2, 1)),
            ("a.weight_global_scale", "F32", (1,)),
            ("b.weight_packed", "U8", (2, 16)),
            ("b.weight_scale", "U8", (2, 1)),
            ("c.weight", "U8", (2, 8)),
            ("c.weight_scale", "F8_E4M3", (2, 1)),
            ("c.weight_scale_2", "F32", ()),
        ],
    }.items():
        put("safetensors", name, filled_with_ones(tensors))

    text = lambda value: json.dumps(value).encode()
    config = text(
        {
            "model_type": "llama",
            "_name_or_path": "a/b",
            "limit": [0.0, float("inf")],
            "x": float("nan"),
        }
    )
    index = text({"metadata": {}, "weight_map": {"w": "model.safetensors"}})
    named = text({"chat_template": [{"name": "default", "template": "{{ x }}"}]})
    put("folder", "all", b"\0".join([config, text({"eos_token_id": [1, 2]}), named, index]))
    put(
        "folder",
        "plain",
        b"\0".join([text({}), text({}), text({"chat_template": "{% if a %}b{% endif %}"}), index]),
    )
    put("folder", "html", b"<html>")


if __name__ == "__main__":
    main()
