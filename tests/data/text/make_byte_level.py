"""Writes small_tokenizer.json and byte_level.json: byte-level BPE by the Python package tokenizers.

Usage: `make_byte_level.py SmolLM2-135M-Instruct.Q4_1.gguf`, with the packages gguf and tokenizers.

The vocabulary is that of SmolLM2, cut to its first 1000 merges. small_tokenizer.json is its
tokenizer.json; byte_level.json has the ids of the texts with every pre-tokenizer, and the patterns
of those that are regular expressions.
"""

import json
import pathlib
import sys

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from texts import PATTERN_TEXTS, TEXTS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from vocabularies import LLAMA3_PATTERN, LOWER, TEKKEN_PATTERN, UPPER  # noqa: E402

HEAD, TAIL = r"[^\r\n\p{L}\p{N}]?", r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = (
    rf"{HEAD}{UPPER}*{LOWER}+{CONTRACTION}|{HEAD}{UPPER}+{LOWER}*{CONTRACTION}"
    rf"|\p{{N}}{{1,3}}|{TAIL}"
)


def by_regex(*patterns):
    return [
        *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]


# Patterns of llama.cpp (llama-vocab.cpp in version 0.3.36 of the Python package llama-cpp-python).
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DEFAULT = [r"[\p{P}\$\+<=>\^~\|]+", GPT2_PATTERN, r"\p{N}+", r"[0-9][0-9][0-9]"]
FALCON = [r"[\p{P}\$\+<=>\^~\|`]+", GPT2_PATTERN, r"[0-9][0-9][0-9]"]
DEEPSEEK3 = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]
MINICPM5 = [r"\p{N}{1,3}", LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}+")]

LETTERS_AND_MARKS = LLAMA3_PATTERN.replace(r"\p{L}+", r"[\p{L}\p{M}]+").replace(
    r" ?[^\s\p{L}\p{N}]", r" ?[^\s\p{L}\p{M}\p{N}]"
)
DIGIT_GROUPS = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))|\p{N}{1,2}"
NOT_HAN = r"&&[^\p{Han}]]"
KIMI_K2 = (
    r"[\p{Han}]+|"
    + GPT4O.replace(UPPER, UPPER[:-1] + NOT_HAN)
    .replace(LOWER, LOWER[:-1] + NOT_HAN)
    .replace(r"[\r\n/]*", r"[\r\n]*")
)
CJK = "[一-龥ࠀ-一가-퟿]+"
DEEPSEEK_CODER = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"]
DEEPSEEK_LLM = [
    r"[\r\n]",
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚ"
    "Ḁ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼ"
    "ℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄ"
    "Ⰰ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ"
    "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    CJK,
    r"\p{N}+",
]
YOUTU = [
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
    GPT4O.replace(r"\p{N}{1,3}", r"\p{N}"),
]
# Patterns of tokenizer.json files that no GGUF name stands for: LFM2.5 and the one of Ling.
LFM25 = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s"
)
LING = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)

GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
# Regular expressions by name in GGUF files, and `ignore_merges`.
PATTERNS = {
    "llama-bpe": ([LLAMA3_PATTERN], True),
    "qwen2": ([LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")], False),
    "tekken": ([TEKKEN_PATTERN], True),
    "gpt-4o": ([GPT4O], False),
    "glm4": ([LLAMA3_PATTERN], True),
    "minicpm5": (MINICPM5, True),
    "deepseek-v3": (DEEPSEEK3, False),
    "falcon": (FALCON, False),
    "default": (DEFAULT, False),
    "qwen35": ([LETTERS_AND_MARKS.replace(r"\p{N}{1,3}", r"\p{N}")], False),
    "tekken-num3": ([TEKKEN_PATTERN.replace(r"|\p{N}|", f"|{DIGIT_GROUPS}|")], True),
    "seed-coder": (
        [
            LLAMA3_PATTERN.replace(r"{1,3}", r"{1}").replace(
                r" ?[^\s\p{L}\p{N}]+[\r\n]*", r" ?[^\s\p{L}\p{N}\r\n]+"
            )
        ],
        False,
    ),
    "kimi-k2": ([KIMI_K2], False),
    "superbpe": ([r"\p{N}+", r"(?=(\d{3})+(?!\d))"], False),
    "youtu": (YOUTU, True),
    "deepseek-coder": (DEEPSEEK_CODER, False),
    "deepseek-llm": (DEEPSEEK_LLM, False),
    "bailingmoe2": ([LING], False),
    "lfm2.5 (tokenizer.json)": ([LFM25], True),
}
# By name in GGUF files: steps of the pre-tokenizer, and `ignore_merges`.
SPLITS = {
    "gpt-2": ([GPT2], False),
    "smollm": ([pre_tokenizers.Digits(individual_digits=True), GPT2], False),
    **{name: (by_regex(*steps), whole) for name, (steps, whole) in PATTERNS.items()},
}

fields = gguf.GGUFReader(sys.argv[1]).fields
tokens = fields["tokenizer.ggml.tokens"].contents()
types = fields["tokenizer.ggml.token_type"].contents()
merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()[:1000]]
special = [token for token, kind in zip(tokens, types) if kind == 3]
made = {left + right for left, right in merges}
vocab = {}
for token in tokens:
    if token in special or len(token) == 1 or token in made:
        vocab[token] = len(vocab)


def build(split, ignore_merges):
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split) if len(split) > 1 else split[0]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in special]
    )
    return tokenizer


here = pathlib.Path(__file__).parent
smollm = build(*SPLITS["smollm"])
smollm.add_tokens(
    [
        AddedToken("<tool>", normalized=False),
        AddedToken(" lstrip ", lstrip=True, normalized=False),
        AddedToken("whole", single_word=True, normalized=False),
    ]
)
smollm.post_processor = processors.TemplateProcessing(
    single="<|im_start|> $A", special_tokens=[("<|im_start|>", vocab["<|im_start|>"])]
)
smollm.save(str(here / "small_tokenizer.json"), pretty=False)
extra = [
    "a<tool>b",
    "x   lstrip y",
    "whole wholesale the whole.",
    "<|im_start|>whole<|im_end|> <tool>",
    "<tool",
    "<|im_sta<|im_end|>",
]
smollm.encode_special_tokens = False
cases = []
for text in TEXTS + extra:
    ids = smollm.encode(text, add_special_tokens=False).ids
    decoded = smollm.decode(ids, skip_special_tokens=True)
    cases.append({"text": text, "ids": ids, "decoded": decoded})
smollm.encode_special_tokens = True
for case in cases:
    case["plain_ids"] = smollm.encode(case["text"], add_special_tokens=False).ids
patterns = {name: {"regexes": steps, "whole": whole} for name, (steps, whole) in PATTERNS.items()}
texts = TEXTS + PATTERN_TEXTS
out = {"json": cases, "patterns": patterns, "splits": {}}
for name, (split, ignore_merges) in SPLITS.items():
    tokenizer = build(split, ignore_merges)
    tokenizer.encode_special_tokens = False
    out["splits"][name] = [{"text": text, "ids": tokenizer.encode(text).ids} for text in texts]
(here / "byte_level.json").write_text(
    json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
)
