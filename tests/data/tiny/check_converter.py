"""Compares the GGUF twins of tiny models with what llama.cpp's converter writes for their folders.

Usage: `check_converter.py LLAMA_CPP FAMILY…` after make_reference.py, with the packages of
requirements.txt in this folder. LLAMA_CPP is a source tree of llama.cpp.

All tensors and all keys but those of the tokenizer and of names must be equal, in values and types,
except for the rounding of exponentials and powers, which differs between numpy and torch. Then the
hash of the twin goes to reference/FAMILY.json, where tests/families.rs compares it, so that a twin
that changes must be checked again.
"""

import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LLAMA_CPP = Path(sys.argv[1]).resolve()
sys.path[:0] = [str(LLAMA_CPP), str(LLAMA_CPP / "gguf-py"), str(HERE.parent)]

import gguf  # noqa: E402
import numpy as np  # noqa: E402
from conversion import get_model_class  # noqa: E402
from conversion.base import ModelBase, TextModel  # noqa: E402
from derived import cache, sha256  # noqa: E402
from specs import FAMILIES  # noqa: E402

# Classes that wrap another convert its tokenizer, which the converter does not know.
TextModel.get_vocab_base_pre = lambda *_: "smollm"

# Prefixes of keys that describe the tokenizer, the converter and the origin of a model.
OTHER_KEYS = ("tokenizer.", "GGUF.", "general.")
COMPARED_KEYS = ("general.architecture", "general.file_type")


def convert(folder, path):
    """Converts a folder in F32, without its tokenizer."""
    # Not through transformers, whose newer words for layers the converter does not know.
    hparams = json.loads((folder / "config.json").read_text())
    if hparams["model_type"] == "lfm2":
        hparams = ModelBase.load_hparams(folder, False)
    model_class = get_model_class(hparams["architectures"][0])
    model_class.set_vocab = lambda _: None
    model = model_class(folder, gguf.LlamaFileType.ALL_F32, path, hparams=hparams)
    model.write()


def contents(path):
    """Returns the keys and tensors of a GGUF file that must be equal."""
    reader = gguf.GGUFReader(path)
    found = {
        name: (field.types, field.contents())
        for name, field in reader.fields.items()
        if name in COMPARED_KEYS or not name.startswith(OTHER_KEYS)
    }
    for tensor in reader.tensors:
        shape = [int(axis) for axis in tensor.shape]
        found[f"tensor {tensor.name}"] = (tensor.tensor_type, shape, tensor.data)
    return found


def are_equal(key, found, expected):
    if found is None or expected is None or not key.startswith("tensor "):
        return found == expected
    tolerances = {"ssm_a": 3e-7, "rope_freqs.weight": 3e-6}
    tolerance = max((tolerances[end] for end in tolerances if key.endswith(end)), default=0)
    same = np.allclose(found[2], expected[2], rtol=tolerance, atol=0)
    return found[:2] == expected[:2] and same


def check(name, models):
    """Exits with the differences, if there are any."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "converted.gguf"
        convert(models / name, path)
        expected = contents(path)
    found = contents(models / f"{name}.gguf")
    keys = {*found, *expected}
    differences = [key for key in keys if not are_equal(key, found.get(key), expected.get(key))]
    for key in sorted(differences):
        shown = [str(side.get(key))[:120] for side in (found, expected)]
        print(f"{name}: {key}: found {shown[0]}, expected {shown[1]}")
    if differences:
        sys.exit(1)
    print(f"{name}: {len(expected)} keys and tensors are equal")


def main():
    models = cache() / "derived" / "tiny"
    for family in sys.argv[2:]:
        path = HERE / "reference" / f"{family}.json"
        entries = json.loads(path.read_text())
        specs = {spec["name"]: spec for spec in FAMILIES[family]}
        for entry in entries:
            if "no_twin" not in specs[entry["name"]]:
                check(entry["name"], models)
                entry["twin_sha256"] = sha256(models / f"{entry['name']}.gguf")
        lines = ",\n".join(json.dumps(entry) for entry in entries)
        path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
