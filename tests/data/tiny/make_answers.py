"""Writes reference/answers.json: greedy answers of tiny models to texts, by transformers.

Usage: `make_answers.py` after make_tiny.py, with the packages of requirements.txt in this folder.
tests/web/families.test.mjs compares them with the answers in Chromium: for each family those of a
folder and of a GGUF file, of two models if there are two with such a file.
"""

import json
import sys

import torch
from make_reference import HERE, cache, load, logits_at_once
from specs import FAMILIES
from tokenizers import Tokenizer

# More than one chunk of 64 tokens each.
TEXTS = [
    "a plan is data: kernels in order over named buffers, written once at load. " * 2,
    "models write plans over matrices and know no format of weights; " * 2,
    "two executors run the same plan, and tests compare what they compute. " * 2,
]
MIN_TOKENS, MAX_TOKENS = 4, 12
STOPS = (0, 2)
# Least gap between a best and a second-best logit, relative to the best: sums in another order must
# not change an answer.
GAP = 1e-3


def models(specs):
    """Yields the file or folder of two models, and the models' names."""
    yield specs[0]["name"], specs[0]["name"]
    twins = [spec["name"] for spec in specs if "no_twin" not in spec]
    name = twins[min(1, len(twins) - 1)]
    yield f"{name}.gguf", name


def answer(model, prompt):
    ids = list(prompt)
    while len(ids) < len(prompt) + MAX_TOKENS:
        best = logits_at_once(model, ids).topk(2)
        gap = (best.values[0] - best.values[1]).item() / best.values[0].abs().item()
        if gap < GAP:
            break
        ids.append(best.indices[0].item())
        if ids[-1] in STOPS:
            break
    return ids[len(prompt) :]


def first_answer(folder):
    """Returns the first text whose answer is long enough, its number of tokens, and the answer."""
    model = load(folder, {})
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        prompt = tokenizer.encode(text).ids
        ids = answer(model, prompt)
        if len(ids) >= MIN_TOKENS:
            return {"text": text, "prompt_tokens": len(prompt), "ids": ids}
    sys.exit(f"{folder.name}: found no clear answer to {len(TEXTS)} texts: add one")


def main():
    folder = cache() / "derived" / "tiny"
    found = []
    with torch.inference_mode():
        for specs in FAMILIES.values():
            for path, name in models(specs):
                found.append({"path": path, **first_answer(folder / name)})
                print(found[-1], flush=True)
    lines = ",\n".join(json.dumps(entry) for entry in found)
    (HERE / "reference" / "answers.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
