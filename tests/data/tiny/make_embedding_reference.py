"""Writes reference/embeddings.json and .f32: embeddings of the tiny models by transformers.

Usage: `make_embedding_reference.py [LLAMA_CPP]` after make_embeddings.py, with the packages of
requirements.txt in this folder. With a source tree of llama.cpp, compares the GGUF twins with what
its converter writes, and notes their hashes.

For each model: embeddings of prompts of several lengths (as in specs.py) and of the texts of
specs_embeddings.py, computed in F32 on the CPU, with the steps of sentence-transformers: pooling,
dense layers, normalization.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from derived import cache, sha256  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from specs import LENGTHS, prompt  # noqa: E402
from specs_embeddings import SPECS, TEXTS  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModel  # noqa: E402
from transformers.utils import logging  # noqa: E402

logging.set_verbosity_error()
logging.disable_progress_bar()


def load(folder):
    model, report = AutoModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    missing = [name for name in report["missing_keys"] if "pooler" not in name]
    if missing:
        sys.exit(f"{folder.name}: transformers did not load {missing}")
    return model.eval()


def embedding(model, folder, spec, ids):
    rows = model(torch.tensor([ids])).last_hidden_state[0]
    pooled = {"mean": rows.mean(0), "cls": rows[0], "lasttoken": rows[-1]}[spec["pooling"]]
    for index, (_, _, function) in enumerate(spec.get("dense", []), 2):
        layer = load_file(folder / f"{index}_Dense" / "model.safetensors")
        pooled = layer["linear.weight"] @ pooled
        if "linear.bias" in layer:
            pooled = pooled + layer["linear.bias"]
        if function == "Tanh":
            pooled = torch.tanh(pooled)
    return pooled / pooled.norm() if spec.get("normalize") else pooled


def reference(folder, spec):
    model = load(folder)
    vocab_size = spec["config"]["vocab_size"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompts, default = spec.get("prompts", ({}, None))
    encode = lambda text: tokenizer.encode(text).ids  # noqa: E731
    ids = [prompt(length, vocab_size) for length in LENGTHS]
    texts = [encode(prompts.get(default, "") + text) for text in TEXTS]
    rows = [embedding(model, folder, spec, found) for found in ids + texts]
    named = {name: encode(text + TEXTS[0]) for name, text in prompts.items()}
    entry = {
        "name": spec["name"],
        "vocab_size": vocab_size,
        "width": len(rows[0]),
        "weights_sha256": sha256(folder / "model.safetensors"),
        "twin": spec.get("no_twin"),
        "text_tokens": sum(map(len, texts)),
        "prompt_tokens": {name: len(found) for name, found in named.items()},
    }
    rows += [embedding(model, folder, spec, found) for found in named.values()]
    print(spec["name"], [round(row.norm().item(), 3) for row in rows])
    return entry, b"".join(row.numpy().astype("<f4").tobytes() for row in rows)


def check_twin(models, spec):
    import check_converter  # reads the tree of llama.cpp from the arguments
    from conversion import get_model_class

    known = get_model_class(spec["config"]["architectures"][0])

    class Converter(known):
        model_arch = known.model_arch

        def __init__(self, *arguments, **more):
            has_dense = bool(spec.get("dense"))
            super().__init__(*arguments, sentence_transformers_dense_modules=has_dense, **more)

    check_converter.get_model_class = lambda _: Converter
    check_converter.check(spec["name"], models)
    return sha256(models / f"{spec['name']}.gguf")


def write(found):
    lines = ",\n".join(json.dumps(entry) for entry, _ in found)
    texts = json.dumps(TEXTS, ensure_ascii=False)
    path = HERE / "reference" / "embeddings.json"
    path.write_text(f'{{"texts": {texts},\n"models": [\n{lines}\n]}}\n')
    path.with_suffix(".f32").write_bytes(b"".join(rows for _, rows in found))


def main():
    models = cache() / "derived" / "embeddings"
    with torch.inference_mode():
        found = [reference(models / spec["name"], spec) for spec in SPECS]
    write(found)
    if len(sys.argv) > 1:
        for (entry, _), spec in zip(found, SPECS):
            if "no_twin" not in spec:
                entry["twin_sha256"] = check_twin(models, spec)
        write(found)


if __name__ == "__main__":
    main()
