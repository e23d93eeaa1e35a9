"""Writes reference/: outputs of the tiny models by Hugging Face transformers.

Usage: `make_reference.py [FAMILY…]` after make_tiny.py, with the packages of requirements.txt in
this folder.

For each model it writes the logits after prompts of several lengths (FAMILY.f32, row after row)
and a greedy continuation of one (FAMILY.json), computed in F32 on the CPU with eager attention.
The time steps of Mamba mixers are not clamped: transformers clamps them in prefill but not in
decode, and models are trained with the latter. Prefill and decode must agree before anything is
written. make_llamacpp.mjs adds the greedy ids of llama.cpp for the GGUF twins.
"""

import json
import math
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from derived import cache, sha256  # noqa: E402
from specs import FAMILIES, GREEDY_PROMPT, GREEDY_TOKENS, LENGTHS, prompt  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402
from transformers.utils import logging  # noqa: E402

logging.set_verbosity_error()
logging.disable_progress_bar()

# Largest difference of logits relative to the largest logit; both sides are F32.
TOLERANCE = 2e-5


def load(folder, spec):
    config = AutoConfig.from_pretrained(folder)
    if spec.get("beyond_original_context"):
        # transformers chooses by the length of each prompt, TabLM and llama.cpp by the context's.
        config.rope_parameters["short_factor"] = config.rope_parameters["long_factor"]
    model, report = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
    )
    wrong = {name: found for name, found in report.items() if found}
    if wrong:
        sys.exit(f"{folder.name}: transformers did not load all tensors: {wrong}")
    for module in model.modules():
        if hasattr(module, "time_step_limit"):
            module.time_step_limit = (0.0, math.inf)
    return model.eval()


def logits_at_once(model, ids):
    return model(torch.tensor([ids]), use_cache=False).logits[0, -1]


def token_by_token(model, ids):
    """Returns the logits after each token, by decoding."""
    cache, rows = None, []
    for token in ids:
        out = model(torch.tensor([[token]]), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        rows.append(out.logits[0, -1])
    return rows


def distance(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


def greedy(model, ids):
    """Returns greedy ids, and the smallest gap between a best and a second-best logit."""
    ids, gap = list(ids), math.inf
    for _ in range(GREEDY_TOKENS):
        best = logits_at_once(model, ids).topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return ids[-GREEDY_TOKENS:], gap


def reference(folder, spec):
    model = load(folder, spec)
    vocab_size = spec["config"]["vocab_size"]
    at_once = {length: logits_at_once(model, prompt(length, vocab_size)) for length in LENGTHS}
    worst = math.nan
    # transformers takes the cache length from attention layers, and cannot decode without any.
    config = model.config
    if config.model_type != "nemotron_h" or "full_attention" in config.layers_block_type:
        rows = token_by_token(model, prompt(max(LENGTHS), vocab_size))
        worst = max(distance(rows[length - 1], at_once[length]) for length in LENGTHS)
    ids, gap = greedy(model, prompt(GREEDY_PROMPT, vocab_size))
    print(
        f"{spec['name']:28} prefill and decode differ by {worst:.1e}, smallest gap {gap:.1e}, "
        f"largest logit {at_once[513].abs().max():.1f}, {len(set(ids))} ids",
        flush=True,
    )
    if worst > TOLERANCE:
        sys.exit(f"{spec['name']}: found a difference of {worst:.1e}, expected at most {TOLERANCE}")
    entry = {
        "name": spec["name"],
        "vocab_size": vocab_size,
        "weights_sha256": sha256(folder / "model.safetensors"),
        "twin": spec.get("no_twin"),
        "greedy": ids,
    }
    if "no_llamacpp" in spec:
        entry["no_llamacpp"] = spec["no_llamacpp"]
    return entry, b"".join(logits.numpy().astype("<f4").tobytes() for logits in at_once.values())


def main():
    models = cache() / "derived" / "tiny"
    for family in sys.argv[1:] or FAMILIES:
        folder = HERE / "reference"
        folder.mkdir(exist_ok=True)
        with torch.inference_mode():
            found = [reference(models / spec["name"], spec) for spec in FAMILIES[family]]
        lines = ",\n".join(json.dumps(entry) for entry, _ in found)
        (folder / f"{family}.json").write_text(f"[\n{lines}\n]\n")
        (folder / f"{family}.f32").write_bytes(b"".join(logits for _, logits in found))


if __name__ == "__main__":
    main()
