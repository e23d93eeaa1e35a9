"""Makes model files that contain only a full-size vocabulary: `make_vocabularies.py [FOLDER]`.

tekken.gguf and llama3.gguf are GGUF headers without tensors, as llama.cpp's converter writes a
vocabulary; tekken.json is the tokenizer.json of the same tokens. The files are put into
FOLDER/vocabularies (default: `derived/vocabularies` in the cache).
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from derived import cache, inputs, once  # noqa: E402
from gguf import GGUFWriter  # noqa: E402
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from vocabularies import CONTROL, TEKKEN_PATTERN, llama3, source_hashes, tekken  # noqa: E402


def write_header(path, vocabulary, pre, bos, eos):
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(bos)
    writer.add_eos_token_id(eos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def write_json(path, vocabulary, pattern):
    merges = [tuple(merge.split(" ")) for merge in vocabulary.merges]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: id for id, token in enumerate(vocabulary.tokens)},
            merges=merges,
            ignore_merges=True,
        )
    )
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [
        AddedToken(token, special=True, normalized=False)
        for token, kind in zip(vocabulary.tokens, vocabulary.types)
        if kind == CONTROL
    ]
    tokenizer.add_special_tokens(control)
    tokenizer.save(str(path), pretty=False)


def make(folder):
    vocabulary = tekken()
    write_header(folder / "tekken.gguf", vocabulary, "tekken", 1, 2)
    write_json(folder / "tekken.json", vocabulary, TEKKEN_PATTERN)
    write_header(folder / "llama3.gguf", llama3(), "llama-bpe", 128000, 128009)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--verify"]
    parent = Path(arguments[0]) if arguments else cache() / "derived"
    scripts = [
        HERE / script for script in ("make_vocabularies.py", "../derived.py", "../vocabularies.py")
    ]
    once(parent / "vocabularies", inputs(scripts, sources=source_hashes()), make)


if __name__ == "__main__":
    main()
