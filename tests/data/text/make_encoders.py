"""Writes wordpiece_tokenizer.json, unigram_tokenizer.json and encoders.json with the package
tokenizers: small vocabularies of the kinds that embedding models have, and ids.

Usage: `make_encoders.py ggml-vocab-nomic-bert-moe.gguf`, with the packages gguf and tokenizers.

The vocabularies are trained on the texts, but kept if their files exist: training breaks ties at
random. encoders.json has the ids and the decoded texts for each
variant of a file, and the ids for the full-size Unigram vocabulary of the GGUF file, with its map
of characters.
"""

import copy
import json
import pathlib
import sys

import gguf
from texts import ENCODER_TEXTS, PATTERN_TEXTS, TEXTS
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

HERE = pathlib.Path(__file__).parent
ALL = TEXTS + PATTERN_TEXTS + ENCODER_TEXTS


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=500, special_tokens=special, limit_alphabet=220, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.decoder = decoders.WordPiece()
    return json.loads(tokenizer.to_str())


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.decoder = decoders.Metaspace()
    file = json.loads(tokenizer.to_str())
    # Scores of few digits keep the file small; ties between them are decided as for any.
    file["model"]["vocab"] = [[text, round(score, 2)] for text, score in file["model"]["vocab"]]
    return file


def changed(file, changes):
    """Returns the file with the values at dotted paths replaced."""
    file = copy.deepcopy(file)
    for path, value in changes.items():
        *parents, key = path.split(".")
        place = file
        for parent in parents:
            place = place[parent]
        place[key] = value
    return file


def cases(file, texts):
    tokenizer = Tokenizer.from_str(json.dumps(file))
    found = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        found.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids)})
    return found


def nomic(path):
    """Returns the ids for the vocabulary of a GGUF file, as its tokenizer.json has it."""
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    scores = fields["tokenizer.ggml.scores"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    charsmap = fields["tokenizer.ggml.precompiled_charsmap"].contents()
    charsmap = bytes(value % 256 for value in charsmap)
    vocab = [(token, score) for token, score, kind in zip(tokens, scores, types) if kind != 5]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3))
    tokenizer.normalizer = normalizers.Precompiled(charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    control = [token for token, kind in zip(tokens, types) if kind in (2, 3)]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    return [{"text": text, "ids": tokenizer.encode(text).ids} for text in ALL]


VARIANTS = {
    "wordpiece": [
        {},
        {"normalizer.lowercase": False},
        {"normalizer.lowercase": False, "normalizer.strip_accents": True},
        {"normalizer.strip_accents": False, "normalizer.handle_chinese_chars": False},
        {"normalizer.clean_text": False, "model.max_input_chars_per_word": 5},
        {"decoder.cleanup": False},
    ],
    "unigram": [
        {},
        {"normalizer": None},
        {"model.byte_fallback": True},
        {
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "WhitespaceSplit"},
                    {
                        "type": "Metaspace",
                        "replacement": "▁",
                        "prepend_scheme": "always",
                        "split": True,
                    },
                ],
            }
        },
        {"pre_tokenizer.split": False},
    ],
}


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
    (HERE / name).write_text(text, encoding="utf-8")


def main():
    out = {}
    for name, train in (("wordpiece", wordpiece), ("unigram", unigram)):
        path = HERE / f"{name}_tokenizer.json"
        if not path.exists():
            write(path.name, train())
        file = json.loads(path.read_text(encoding="utf-8"))
        out[name] = []
        for index, changes in enumerate(VARIANTS[name]):
            texts = ALL if index == 0 else ENCODER_TEXTS + PATTERN_TEXTS
            out[name].append({"changes": changes, "cases": cases(changed(file, changes), texts)})
    out["nomic"] = nomic(sys.argv[1])
    write("encoders.json", out)


if __name__ == "__main__":
    main()
