"""Writes reference/answers.json: greedy answers of tiny models to texts, by transformers, with the
log-probability of each token and those of the 20 most probable first ones.

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
# As many as a request can ask for.
TOP_LOGPROBS = 20


def models(specs):
    """Yields the file or folder of two models, and the models' names."""
    yield specs[0]["name"], specs[0]["name"]
    twins = [spec["name"] for spec in specs if "no_twin" not in spec]
    name = twins[min(1, len(twins) - 1)]
    yield f"{name}.gguf", name


def answer(model, prompt):
    """Returns the answer's ids, their log-probabilities, the first ones, and the greatest logit."""
    ids, logprobs, first, greatest = [], [], None, 0.0
    while len(ids) < MAX_TOKENS and (not ids or ids[-1] not in STOPS):
        logits = logits_at_once(model, prompt + ids)
        best = logits.topk(2)
        gap = (best.values[0] - best.values[1]).item() / best.values[0].abs().item()
        if gap < GAP:
            break
        row = logits.double().log_softmax(-1)
        first = first or row.topk(TOP_LOGPROBS).values.tolist()
        greatest = max(greatest, logits.abs().max().item())
        ids.append(best.indices[0].item())
        logprobs.append(row[ids[-1]].item())
    return ids, logprobs, first, greatest


def first_answer(folder):
    """Returns the first text whose answer is long enough, its number of tokens, and the answer."""
    model = load(folder, {})
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        prompt = tokenizer.encode(text).ids
        ids, logprobs, first, greatest = answer(model, prompt)
        if len(ids) >= MIN_TOKENS:
            return {
                "text": text,
                "prompt_tokens": len(prompt),
                "ids": ids,
                "logprobs": [round(value, 6) for value in logprobs],
                "first_logprobs": [round(value, 6) for value in first],
                "greatest_logit": round(greatest, 6),
            }
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
