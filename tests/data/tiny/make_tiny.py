"""Makes tiny random models of every architecture: `make_tiny.py [FOLDER]`.

Each is a safetensors folder as transformers writes it and a GGUF file (the folder's twin) of the
same weights as llama.cpp's converter writes it, both in F32. The files are put into FOLDER/tiny
(default: `derived/tiny` in the cache). specs.py lists the models, weights.py draws their weights,
twins.py converts them to GGUF; make_reference.py runs the reference implementation on them.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import safetensors_file  # noqa: E402
from derived import cache, inputs, once, write_json  # noqa: E402
from make_models import CONTROL, Type, save_tokenizer, tiny_tokenizer, write_gguf  # noqa: E402
from specs import FAMILIES  # noqa: E402
from twins import ARCHITECTURES, FILLERS, fuse, gguf, twin_tensors  # noqa: E402
from weights import draw, nemotron_h_pattern, to_bf16  # noqa: E402

SCRIPTS = [
    "falcon_h1.py",
    "granite_hybrid.py",
    "make_tiny.py",
    "specs.py",
    "specs_dense.py",
    "specs_lfm.py",
    "specs_nemotron_h.py",
    "twins.py",
    "twins_lfm.py",
    "weights.py",
    "weights_lfm.py",
    "../derived.py",
    "../make_models.py",
    "../safetensors_file.py",
]


def stored(name, values, bf16_suffixes):
    """Returns name, type and array of a tensor as the folder stores it."""
    if name.endswith(bf16_suffixes):
        return name, "BF16", to_bf16(values)
    return name, "F32", values


class Vocabulary:
    """A tokenizer that is truncated or padded to the vocabulary size of a model."""

    def __init__(self):
        self.tokens, _, self.merges = tiny_tokenizer(300, "")

    def of_size(self, size):
        tokens = self.tokens[:size] + [f"<unused{i}>" for i in range(size - len(self.tokens))]
        types = [
            CONTROL if token.startswith("<") and token.endswith(">") else 1 for token in tokens
        ]
        kept = [merge for merge in self.merges if merge.replace(" ", "") in set(tokens)]
        return tokens, types, kept


def write_folder(folder, spec, weights, vocabulary):
    folder.mkdir()
    # Python writes `Infinity`, as in files on the hub.
    write_json(folder / "config.json", spec["config"])
    write_json(
        folder / "generation_config.json",
        {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2},
    )
    save_tokenizer(folder, *vocabulary)
    prefix = spec.get("prefix", "model.")
    suffixes = spec.get("bf16_suffixes", ())
    tensors = [
        stored(name.replace("model.", prefix, 1), values, suffixes)
        for name, values in weights.items()
    ]
    safetensors_file.save(folder / "model.safetensors", tensors)


def write_twin(path, family, spec, weights, vocabulary):
    config = spec["config"]
    tokens, types, merges = vocabulary

    def fill(writer):
        writer.add_name(spec["name"])
        FILLERS[family](writer, config)
        writer.add_file_type(0)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(spec.get("pre", "smollm"))
        writer.add_token_list(tokens)
        writer.add_token_types(types)
        writer.add_token_merges(merges)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)

    layer_count = (
        len(nemotron_h_pattern(config)) if family == "nemotron_h" else config["num_hidden_layers"]
    )
    tensors = twin_tensors(family, config, weights, layer_count)
    if spec.get("fused"):
        tensors = fuse(tensors)
    tensors = [(name, values, Type.F32) for name, values in tensors]
    known = ARCHITECTURES.get(family)
    architecture = gguf.MODEL_ARCH_NAMES[known] if known else family
    for tensors_per_part in {0, spec.get("tensors_per_part", 0)}:
        write_gguf(path, architecture, fill, tensors, tensors_per_part)


def make(folder):
    vocabularies = Vocabulary()
    for family, specs in FAMILIES.items():
        for spec in specs:
            weights = draw(family, spec)
            vocabulary = vocabularies.of_size(spec["config"]["vocab_size"])
            write_folder(folder / spec["name"], spec, weights, vocabulary)
            if "no_twin" not in spec:
                write_twin(folder / f"{spec['name']}.gguf", family, spec, weights, vocabulary)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--verify"]
    parent = Path(arguments[0]) if arguments else cache() / "derived"
    once(parent / "tiny", inputs([HERE / script for script in SCRIPTS]), make)


if __name__ == "__main__":
    main()
