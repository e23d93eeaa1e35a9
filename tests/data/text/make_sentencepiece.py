"""Writes sentencepiece.json: a tiny SentencePiece BPE vocabulary and reference ids of texts.

Usage: `make_sentencepiece.py`, with the packages sentencepiece, protobuf and tokenizers.

The vocabulary is trained on the lines below with byte fallback. llama_tokenizer.json is the same
vocabulary as a tokenizer.json in the form of Llama 2. The texts have the ids of the packages
sentencepiece and tokenizers.
"""

import io
import json
import pathlib

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from texts import TEXTS

CORPUS = (
    """The lighthouse at the end of the harbour was built when the town still lived from herring.
A keeper and two assistants took turns through the night, and the oil was carried up by hand.
Hello world! The quick brown fox jumps over the lazy dog. It's a test, we're testing it.
Le petit chat boit du lait, là où l'été est naïf et la façade est claire.
Der schnelle braune Fuchs springt über den faulen Hund. Größe und Übermut.
def f(x):  return x + 1   # code with   several   spaces
the they them then there these those this that than
ein eine einer eines einem einen     mein meine
aaaa aaaaaa aa a abab ababab bababa
1234567890 3.14159 2024 1999
東京 東京タワー 世界 你好
""".splitlines()
)

buffer = io.BytesIO()
spm.SentencePieceTrainer.train(
    sentence_iterator=iter(CORPUS * 20),
    model_writer=buffer,
    vocab_size=560,
    model_type="bpe",
    byte_fallback=True,
    character_coverage=0.98,
    split_digits=True,
    allow_whitespace_only_pieces=True,
    remove_extra_whitespaces=False,
    normalization_rule_name="identity",
    user_defined_symbols=["<tool>"],
    control_symbols=["<end_of_turn>"],
    add_dummy_prefix=True,
    max_sentence_length=10000,
    num_threads=1,
    minloglevel=2,
)
proto = pb.ModelProto()
proto.ParseFromString(buffer.getvalue())


def processor(prefix):
    copy = pb.ModelProto()
    copy.CopyFrom(proto)
    copy.normalizer_spec.add_dummy_prefix = prefix
    return spm.SentencePieceProcessor(model_proto=copy.SerializeToString())


texts = TEXTS + [
    "the lighthouse of the harbour",
    "ababababab aaaaaaaaa",
    "there    are     spaces",
    "größer 東京x",
    "a<tool>b <tool>",
]
texts = [text for text in texts if "\0" not in text]
# GGUF numbers the types of tokens as SentencePiece does.
out = {
    "tokens": [piece.piece for piece in proto.pieces],
    "scores": [piece.score for piece in proto.pieces],
    "token_types": [int(piece.type) for piece in proto.pieces],
    "cases": [],
}
with_prefix, without = processor(True), processor(False)
for text in texts:
    ids = with_prefix.encode(text)
    out["cases"].append(
        {
            "text": text,
            "ids": ids,
            "ids_without_prefix": without.encode(text),
            "decoded": with_prefix.decode(ids),
        }
    )

vocab = {piece.piece: index for index, piece in enumerate(proto.pieces)}
scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == 1}
# Merges of the tokenizer.json: all splits of a token into two, by descending score of the token.
merges = []
for token, score in scores.items():
    local = [
        (token[:at], token[at:], score)
        for at in range(1, len(token))
        if token[:at] in scores and token[at:] in scores
    ]
    merges += sorted(local, key=lambda merge: (vocab[merge[0]], vocab[merge[1]]))
merges.sort(key=lambda merge: (merge[2], len(merge[0]), len(merge[1])), reverse=True)
llama = Tokenizer(
    models.BPE(
        vocab=vocab,
        merges=[merge[:2] for merge in merges],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
)
llama.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
llama.decoder = decoders.Sequence(
    [
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
)
llama.add_special_tokens(
    [
        AddedToken(token, normalized=False, special=True)
        for token in ("<unk>", "<s>", "</s>", "<end_of_turn>")
    ]
)
llama.add_tokens([AddedToken("<tool>", normalized=False)])
llama.post_processor = processors.TemplateProcessing(
    single="<s> $A", special_tokens=[("<s>", vocab["<s>"])]
)
here = pathlib.Path(__file__).parent
llama.save(str(here / "llama_tokenizer.json"), pretty=False)
for case in out["cases"]:
    encoded = llama.encode(case["text"], add_special_tokens=False).ids
    case["json_ids"], case["json_decoded"] = encoded, llama.decode(encoded)
(here / "sentencepiece.json").write_text(
    json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
)
