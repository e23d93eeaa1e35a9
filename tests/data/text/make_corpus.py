"""Writes corpus.json: the texts of corpus.py, and a hash of the ids that each gives.

usage: make_corpus.py   (needs PyPI mistral_common==1.13.1 and tiktoken==0.14.0)

`tekken` is what mistral_common makes of a text, `llama3` what tiktoken makes of it with the ranks
and the pattern of llama-models. A hash is FNV-1a over the ids as 32-bit little-endian numbers.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tiktoken  # noqa: E402
from corpus import texts  # noqa: E402
from mistral_common.tokens.tokenizers.tekken import Tekkenizer  # noqa: E402
from vocabularies import LLAMA3_PATTERN, TEKKEN, file, llama3_ranks  # noqa: E402


def fnv(ids):
    found = 0x811C9DC5
    for id in ids:
        for byte in id.to_bytes(4, "little"):
            found = (found ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{found:08x}"


def encoders():
    tekken = Tekkenizer.from_file(file(TEKKEN))
    llama3 = tiktoken.Encoding("llama3", pat_str=LLAMA3_PATTERN, mergeable_ranks=llama3_ranks(), special_tokens={})
    return {"tekken": lambda text: tekken.encode(text, bos=False, eos=False), "llama3": llama3.encode_ordinary}


def main():
    found = {"texts": texts()}
    for name, encode in encoders().items():
        found[name] = "".join(fnv(encode(text)) for text in found["texts"])
    (HERE / "corpus.json").write_text(json.dumps(found, indent=0) + "\n")


if __name__ == "__main__":
    main()
