"""Writes corpus.json: the texts of corpus.py, with hashes of their ids by reference tokenizers.

Usage: `make_corpus.py` after make_vocabularies.py, with the packages mistral_common==1.13.1,
tiktoken==0.14.0 and tokenizers==0.23.3.

`tekken` are ids by mistral_common, `llama3` ids by tiktoken with the ranks and the pattern of
llama-models. A hash is FNV-1a over the ids as 32-bit little-endian numbers. `chats` are texts with
control tokens, with their ids by Hugging Face tokenizers and by tiktoken.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tiktoken  # noqa: E402
from corpus import CHATS, texts  # noqa: E402
from derived import cache  # noqa: E402
from mistral_common.tokens.tokenizers.tekken import Tekkenizer  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from vocabularies import CONTROL, LLAMA3_PATTERN, TEKKEN, file, llama3, llama3_ranks  # noqa: E402


def fnv(ids):
    found = 0x811C9DC5
    for id in ids:
        for byte in id.to_bytes(4, "little"):
            found = (found ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{found:08x}"


def main():
    tekken = Tekkenizer.from_file(file(TEKKEN))
    tekken_json = Tokenizer.from_file(str(cache() / "derived/vocabularies/tekken.json"))
    vocabulary = llama3()
    control = {
        token: id
        for id, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types))
        if kind == CONTROL
    }
    tiktoken_llama3 = tiktoken.Encoding(
        "llama3", pat_str=LLAMA3_PATTERN, mergeable_ranks=llama3_ranks(), special_tokens=control
    )
    found = {"texts": texts()}
    found["tekken"] = "".join(
        fnv(tekken.encode(text, bos=False, eos=False)) for text in found["texts"]
    )
    found["llama3"] = "".join(fnv(tiktoken_llama3.encode_ordinary(text)) for text in found["texts"])
    chat = lambda text: {
        "text": text,
        "tekken": tekken_json.encode(text).ids,
        "llama3": tiktoken_llama3.encode(text, allowed_special="all"),
    }
    found["chats"] = [chat(text) for text in CHATS]
    (HERE / "corpus.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
