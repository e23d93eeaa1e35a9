"""Writes resaved.json: configurations of tiny models after loading and saving by transformers.

Usage: `make_resaved.py` after make_tiny.py, with the packages of requirements.txt in this folder.

resaved.json has the `config.json` of each copy, which names the version of transformers that
wrote it. Weights must keep their names and values.
"""

import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from derived import cache  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

# One for each form of the original configuration.
MODELS = [
    "nemotron_h-g8x1",
    "nemotron_h-g8x12",
    "nemotron_h-g2x3",
    "nemotron_h-no_mlp",
    "nemotron_h-odd",
    "llama-tied",
    "llama-linear",
    "llama-minitron_width",
    "qwen2-tied",
    "gemma2-window",
    "gemma3-pattern",
    "gemma3-scaled",
    "gemma3-query_scale",
    "phi-partial",
    "phi-parameters",
]


def resaved(name, folder):
    old = cache() / "derived" / "tiny" / name
    model = AutoModelForCausalLM.from_pretrained(old, dtype=torch.float32)
    model.save_pretrained(folder)
    before, after = (load_file(place / "model.safetensors") for place in (old, folder))
    if set(before) != set(after) or any(
        (before[tensor] != after[tensor]).any() for tensor in before
    ):
        sys.exit(f"{name}: found other weights after saving, expected the same")
    return json.loads((folder / "config.json").read_text())


def main():
    lines = []
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(f"{json.dumps(name)}: {json.dumps(resaved(name, Path(folder)))}")
    (HERE / "resaved.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
