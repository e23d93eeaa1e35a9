"""Full-size vocabularies from files of two Python packages, fetched by `.ci/setup.sh vocabularies`.

- Tekken, 131,072 tokens: of Mistral Nemo and, with other control tokens, of Nemotron Nano,
- Llama 3, 128,256 tokens.

Both files are lists of byte strings by rank. Hugging Face and GGUF write them in the byte-level
alphabet and add merges: all splits of a token into two tokens, ordered by the rank of the token,
then of the first part, then of the second.
"""

import base64
import json
from dataclasses import dataclass

from derived import cache, sha256

TEKKEN = "tekken_240718.json"
LLAMA3 = "llama3_tokenizer.model"
NORMAL, CONTROL = 1, 3

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN_PATTERN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Control tokens of Mistral, and Nemotron's additional ones.
TEKKEN_CONTROL = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS]"
    " [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS]"
).split()
NEMOTRON_CONTROL = (
    TEKKEN_CONTROL + "<|im_start|> <|im_end|> <think> </think> <tool_call> </tool_call>".split()
)

LLAMA3_CONTROL = {
    0: "<|begin_of_text|>",
    1: "<|end_of_text|>",
    4: "<|finetune_right_pad_id|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    8: "<|eom_id|>",
    9: "<|eot_id|>",
    10: "<|python_tag|>",
}


@dataclass
class Vocabulary:
    """Tokens by id in the byte-level alphabet, their GGUF types, merges as `left right`."""

    tokens: list
    types: list
    merges: list


def byte_alphabet():
    """Returns the character of each byte: printable Latin-1 as is, U+0100 and up for the others."""
    printable = set(range(0x21, 0x7F)) | set(range(0xA1, 0xAD)) | set(range(0xAE, 0x100))
    rest = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(rest)) for byte in range(256)]


def merges(ranks):
    """Returns the merges as pairs of byte strings, from the rank of each byte string."""
    found = []
    for token, rank in ranks.items():
        cuts = ((token[:at], token[at:]) for at in range(1, len(token)))
        known = [
            (rank, ranks[left], ranks[right])
            for left, right in cuts
            if left in ranks and right in ranks
        ]
        found += sorted(known)
    found.sort(key=lambda merge: merge[0])
    by_rank = {rank: token for token, rank in ranks.items()}
    return [(by_rank[left], by_rank[right]) for _, left, right in found]


def file(name):
    path = cache() / "vocabularies" / name
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `.ci/setup.sh vocabularies`")
    return path


def tekken_ranks():
    entries = json.loads(file(TEKKEN).read_text())
    config = entries["config"]
    count = config["default_vocab_size"] - config["default_num_special_tokens"]
    return {
        base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in entries["vocab"][:count]
    }


def llama3_ranks():
    lines = (line.split() for line in file(LLAMA3).read_bytes().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def byte_level(ranks, control_first, control):
    """Builds a vocabulary in the byte-level alphabet, with the control tokens first or last."""
    alphabet = byte_alphabet()
    spell = lambda token: "".join(alphabet[byte] for byte in token)
    normal = [spell(token) for token in sorted(ranks, key=ranks.get)]
    tokens = control + normal if control_first else normal + control
    types = [CONTROL] * len(control) + [NORMAL] * len(normal)
    return Vocabulary(
        tokens,
        types if control_first else types[::-1],
        [f"{spell(left)} {spell(right)}" for left, right in merges(ranks)],
    )


def tekken(control=NEMOTRON_CONTROL):
    filled = control + [f"<SPECIAL_{id}>" for id in range(len(control), 1000)]
    return byte_level(tekken_ranks(), True, filled)


def llama3():
    reserved = iter(range(256))
    control = [
        LLAMA3_CONTROL.get(id) or f"<|reserved_special_token_{next(reserved)}|>"
        for id in range(256)
    ]
    return byte_level(llama3_ranks(), False, control)


def source_hashes():
    """Returns the hashes of the source files, for manifests of files made from the vocabularies."""
    return {name: sha256(file(name)) for name in (TEKKEN, LLAMA3)}
