"""Writes smollm2.json: ids and rendered chats of SmolLM2 by llama.cpp.

Usage: `make_smollm2.py REFERENCE.json`, a recording of the package xllamacpp with llama.cpp on
the CPU.
"""

import json
import pathlib
import sys

reference = json.load(open(sys.argv[1], encoding="utf-8"))
out = {
    "model": reference["model"],
    "engine": reference["engine"]["name"] + " " + reference["engine"]["version"],
    "prompts": [
        {
            key: prompt[key]
            for key in ("id", "messages", "prompt_text", "prompt_ids", "gen_ids", "gen_text")
        }
        for prompt in reference["prompts"]
    ],
    "tokenizer": reference["tokenizer"],
    "paragraph": {key: reference["paragraph"][key] for key in ("text", "ids")},
}
path = pathlib.Path(__file__).with_name("smollm2.json")
path.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
