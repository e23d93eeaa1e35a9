"""Writes smollm2.json: what llama.cpp makes of the SmolLM2 vocabulary and chat template.

usage: make_smollm2.py REFERENCE.json   (recorded with xllamacpp, llama.cpp's CPU engine)
"""

import json
import pathlib
import sys

reference = json.load(open(sys.argv[1], encoding="utf-8"))
out = {
    "model": reference["model"],
    "engine": reference["engine"]["name"] + " " + reference["engine"]["version"],
    "prompts": [
        {key: prompt[key] for key in ("id", "messages", "prompt_text", "prompt_ids", "gen_ids", "gen_text")}
        for prompt in reference["prompts"]
    ],
    "tokenizer": reference["tokenizer"],
    "paragraph": {key: reference["paragraph"][key] for key in ("text", "ids")},
}
path = pathlib.Path(__file__).with_name("smollm2.json")
path.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
