"""Compares the GGUF twins of tiny models with what llama.cpp's converter makes of their folders.

Usage: `check_twins.py LLAMA_CPP [FAMILY…]` after make_tiny.py, with the packages of
requirements.txt in this folder and `torch`; LLAMA_CPP is llama.cpp's source folder, as in the sdist
of llama-cpp-python. Compares names, shapes and values of all tensors and the keys of the
architecture; prints each difference and fails if there is one. Values may differ in the last bit.
"""

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
LLAMA_CPP = Path(sys.argv[1])
sys.path.insert(0, str(LLAMA_CPP))
sys.path.insert(0, str(LLAMA_CPP / "gguf-py"))

import gguf  # noqa: E402
import numpy as np  # noqa: E402
from conversion import get_model_class  # noqa: E402
from conversion.base import ModelBase, ModelType, TextModel  # noqa: E402
from derived import cache  # noqa: E402
from specs import FAMILIES  # noqa: E402

# The converter knows pre-tokenizers by a digest of what they do to a text; tiny ones are unknown.
TextModel.get_vocab_base_pre = lambda *_: "smollm"


def converted(folder, path):
    hparams = ModelBase.load_hparams(folder, False)
    model_class = get_model_class(hparams["architectures"][0])
    # Some classes look for files that only their family has.
    model_class.set_vocab = TextModel._set_vocab_gpt2
    model_class(folder, gguf.LlamaFileType.ALL_F32, path).write()
    return gguf.GGUFReader(path)


def keys(reader):
    found = {name: field.contents() for name, field in reader.fields.items()}
    architecture = found["general.architecture"]
    return {name: value for name, value in found.items() if name.startswith(f"{architecture}.")}


def same(a, b):
    """True for equal values; numbers in f32 may be stored from different f64 ones."""
    if isinstance(a, float) and isinstance(b, float):
        return np.float32(a) == np.float32(b)
    return a == b


def differences(ours, theirs):
    for kind, a, b in [
        ("key", keys(ours), keys(theirs)),
        (
            "tensor",
            {tensor.name: tensor for tensor in ours.tensors},
            {tensor.name: tensor for tensor in theirs.tensors},
        ),
    ]:
        for name in sorted(a.keys() | b.keys()):
            if name not in a or name not in b:
                yield f"{kind} {name}: only {'here' if name in a else 'there'}: {b.get(name)}"
            elif kind == "key" and not same(a[name], b[name]):
                yield f"key {name}: {a[name]} here, {b[name]} there"
            elif kind == "tensor" and (
                list(a[name].shape) != list(b[name].shape)
                or not np.allclose(a[name].data, b[name].data, rtol=1e-6, atol=0)
            ):
                yield f"tensor {name}: {a[name].shape} here, {b[name].shape} there, or other values"


def main():
    models, count = cache() / "derived" / "tiny", 0
    for family in sys.argv[2:] or FAMILIES:
        for spec in FAMILIES[family]:
            if "no_twin" in spec:
                continue
            ours = gguf.GGUFReader(models / f"{spec['name']}.gguf")
            with tempfile.TemporaryDirectory() as folder:
                theirs = converted(models / spec["name"], Path(folder) / "model.gguf")
                found = list(differences(ours, theirs))
            print(f"{spec['name']:28} {'same' if not found else ''}")
            print("".join(f"    {line}\n" for line in found), end="")
            count += len(found)
    sys.exit(1 if count else 0)


if __name__ == "__main__":
    main()
