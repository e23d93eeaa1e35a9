"""Writes added.json: added tokens with all combinations of flags, by the Python package tokenizers.

Usage: `make_added.py [SETS] [TEXTS] [SEED]`, with the package tokenizers.

Each set has a tokenizer of one of the kinds below, random added tokens, and texts of these
tokens, white space, and word and non-word characters, with their ids and decoded texts.
"""

import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

SETS, TEXTS, SEED = (int(given) for given in sys.argv[1:] + ["44", "9", "1"][len(sys.argv) - 1 :])
random.seed(SEED)
ALPHABET = list("abAB01_.<>▁") + [
    "é",
    "É",
    "日",
    "½",
    "Ⅷ",
    "\u0301",
    "\u200d",
    "\u203f",
    "ſ",
    "İ",
    "क",
    "ा",
    "🗼",
]
SPACES = [" ", " ", " ", "\t", "\n", "\u00a0", "\u2003"]
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
PREFIXED = BYTE_LEVEL | {"add_prefix_space": True}
TO_MARK = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
FROM_MARK = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
PREPEND = {"type": "Prepend", "prepend": "▁"}


def metaspace(scheme, split=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


def decoders(*steps):
    return {"type": "Sequence", "decoders": list(steps)}


KINDS = [
    {"vocabulary": "bytes", "pre_tokenizer": BYTE_LEVEL, "decoder": BYTE_LEVEL},
    {"vocabulary": "bytes", "pre_tokenizer": PREFIXED, "decoder": BYTE_LEVEL},
    {
        "vocabulary": "bytes",
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": BYTE_LEVEL,
        "decoder": BYTE_LEVEL,
    },
    {
        "vocabulary": "bytes",
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": BYTE_LEVEL,
        "decoder": BYTE_LEVEL,
    },
    {
        "vocabulary": "characters",
        "normalizer": TO_MARK,
        "decoder": decoders(FROM_MARK, {"type": "ByteFallback"}, {"type": "Fuse"}),
    },
    {
        "vocabulary": "characters",
        "normalizer": {"type": "Sequence", "normalizers": [PREPEND, TO_MARK]},
        "decoder": decoders(FROM_MARK, {"type": "ByteFallback"}, {"type": "Fuse"}, STRIP),
    },
    {
        "vocabulary": "characters",
        "normalizer": TO_MARK,
        "decoder": decoders(FROM_MARK, {"type": "ByteFallback"}, STRIP, {"type": "Fuse"}),
    },
    {
        "vocabulary": "characters",
        "pre_tokenizer": metaspace("always"),
        "decoder": decoders({"type": "ByteFallback"}, metaspace("always")),
    },
    {
        "vocabulary": "characters",
        "pre_tokenizer": metaspace("first"),
        "decoder": decoders({"type": "ByteFallback"}, metaspace("first")),
    },
    {
        "vocabulary": "characters",
        "pre_tokenizer": metaspace("never", False),
        "decoder": decoders({"type": "ByteFallback"}, metaspace("never")),
    },
    {
        "vocabulary": "characters",
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}],
        },
        "pre_tokenizer": metaspace("first", False),
        "decoder": decoders({"type": "ByteFallback"}, metaspace("first")),
    },
]


def model(atoms, pairs, **more):
    vocabulary = {}
    for token in atoms + [left + right for left, right in pairs]:
        vocabulary.setdefault(token, len(vocabulary))
    plain = {
        "dropout": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "ignore_merges": False,
    }
    return {"type": "BPE", **plain, "vocab": vocabulary, "merges": pairs, **more}


BYTES = sorted(ByteLevel.alphabet())
CHARACTERS = (
    ["<unk>"]
    + [f"<0x{byte:02X}>" for byte in range(256)]
    + sorted(set(ALPHABET) - {"🗼", "क"})
    + ["▁"]
)
MODELS = {
    "bytes": model(
        BYTES,
        [["a", "b"], ["Ġ", "a"], ["ab", "ab"], ["<", "a"], ["0", "1"], ["Ġ", "Ġ"]],
        unk_token=None,
        fuse_unk=False,
        byte_fallback=False,
    ),
    "characters": model(
        CHARACTERS,
        [["a", "b"], ["▁", "a"], ["▁", "▁"], ["▁▁", "▁▁"], ["ab", "ab"], ["<", "a"]],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    ),
}


def word(most):
    return "".join(random.choice(ALPHABET) for _ in range(random.randint(1, most)))


def content():
    made = random.choice(
        [
            word,
            word,
            lambda n: "<" + word(2) + ">",
            lambda n: random.choice(SPACES) * random.randint(1, 3),
        ]
    )(4)
    if random.random() < 0.2:
        made = random.choice(
            [made + random.choice(SPACES), random.choice(SPACES) + made, made + " " + word(2)]
        )
    return made if random.random() < 0.8 else "▁" * random.randint(1, 3)


def added_tokens(vocabulary):
    tokens, count = [], len(vocabulary)
    # Distinct after normalization: of equal ones tokenizers takes either, in hash table order.
    made = {
        unicodedata.normalize("NFKC", text).lower().replace(" ", "▁"): text
        for text in (content() for _ in range(random.randint(2, 9)))
    }
    for text in made.values():
        flags = {
            flag: random.random() < 0.35
            for flag in ("single_word", "lstrip", "rstrip", "normalized", "special")
        }
        tokens.append({"id": vocabulary.get(text, count), "content": text, **flags})
        count += text not in vocabulary
    return tokens


def text(tokens):
    parts = [
        lambda: random.choice(tokens)["content"],
        lambda: word(3),
        lambda: random.choice(SPACES) * random.randint(1, 3),
    ]
    return "".join(random.choice(parts)() for _ in range(random.randint(1, 9)))


sets = []
for number in range(SETS):
    kind = {"normalizer": None, "pre_tokenizer": None, **KINDS[number % len(KINDS)]}
    name = kind.pop("vocabulary")
    tokens = added_tokens(MODELS[name]["vocab"])
    file = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "post_processor": None,
        "added_tokens": tokens,
        **kind,
    }
    tokenizer = Tokenizer.from_str(json.dumps(file | {"model": MODELS[name]}))
    cases = []
    while len(cases) < TEXTS:
        source = text(tokens)
        try:
            tokenizer.encode_special_tokens = True
            plain = tokenizer.encode(source, add_special_tokens=False).ids
            tokenizer.encode_special_tokens = False
            ids = tokenizer.encode(source, add_special_tokens=False).ids
        except BaseException as error:
            # A panic in tokenizers: a token strips white space that belongs to another.
            assert "bad split" in str(error), error
            continue
        # tokenizers does not skip special tokens whose normalized form differs, so skip them here.
        special = {token["id"] for token in tokens if token["special"]}
        shown = [id for id in ids if id not in special]
        cases.append(
            [
                source,
                ids,
                plain,
                *(tokenizer.decode(list, skip_special_tokens=False) for list in (shown, ids)),
            ]
        )
    sets.append({"vocabulary": name, "file": file, "cases": cases})
out = json.dumps({"models": MODELS, "sets": sets}, ensure_ascii=False, separators=(",", ":"))
(pathlib.Path(__file__).parent / "added.json").write_text(out + "\n", encoding="utf-8")
