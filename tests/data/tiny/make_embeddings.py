"""Makes tiny random models for embeddings: `make_embeddings.py [FOLDER]`.

As make_tiny.py: folders, here with the files of sentence-transformers, and GGUF twins, in F32, in
FOLDER/embeddings (default: `derived/embeddings` in the cache). make_embedding_reference.py runs
transformers on them.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import gguf  # noqa: E402
import safetensors_file  # noqa: E402
from derived import cache, inputs, once, write_json  # noqa: E402
from make_models import CONTROL, Type, save_tokenizer, tiny_tokenizer, write_gguf  # noqa: E402
from specs_embeddings import SPECS  # noqa: E402
from twins import FILLERS, twin_tensors  # noqa: E402
from weights import WRITERS, Tensors  # noqa: E402

SCRIPTS = [
    "make_embeddings.py",
    "specs_embeddings.py",
    "twins.py",
    "weights.py",
    "../derived.py",
    "../make_models.py",
    "../safetensors_file.py",
]
WORDPIECE = HERE.parent / "text" / "wordpiece_tokenizer.json"
POOLING = {"mean": gguf.PoolingType.MEAN, "cls": gguf.PoolingType.CLS}
POOLING["lasttoken"] = gguf.PoolingType.LAST


def draw_bert(tensors, config):
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]

    def norm(name):
        tensors.norm(f"{name}.weight", hidden)
        tensors.vector(f"{name}.bias", hidden, -0.5, 0.5)

    for table, rows in (
        ("word", config["vocab_size"]),
        ("position", config["max_position_embeddings"]),
        ("token_type", config["type_vocab_size"]),
    ):
        tensors.matrix(f"embeddings.{table}_embeddings.weight", rows, hidden, hidden**0.5)
    norm("embeddings.LayerNorm")
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for part, gain in (("query", 1.5), ("key", 1.5), ("value", 1.0)):
            tensors.linear(f"{layer}.attention.self.{part}", hidden, hidden, gain, True)
        tensors.linear(f"{layer}.attention.output.dense", hidden, hidden, 2.0, True)
        norm(f"{layer}.attention.output.LayerNorm")
        tensors.linear(f"{layer}.intermediate.dense", intermediate, hidden, 1.0, True)
        tensors.linear(f"{layer}.output.dense", hidden, intermediate, 2.0, True)
        norm(f"{layer}.output.LayerNorm")


def draw(spec):
    """Returns the transformer's tensors, and those of each dense layer."""
    tensors = Tensors(spec["name"])
    {"bert": draw_bert, **WRITERS}[spec["family"]](tensors, spec["config"])
    tensors.pop("lm_head.weight", None)
    width, layers = spec["config"]["hidden_size"], []
    for index, (outputs, bias, _) in enumerate(spec.get("dense", []), 2):
        layer = Tensors(f"{spec['name']}/{index}_Dense")
        layer.linear("linear", outputs, width, 1.0, bias)
        layers.append(dict(layer))
        width = outputs
    return dict(tensors), layers


def stored_name(name, prefix):
    if prefix is None:
        return name
    return prefix + name.removeprefix("model.")


def heads_for_training(config):
    """Tensors of BertForMaskedLM that embeddings do not need."""
    tensors, hidden = Tensors("heads"), config["hidden_size"]
    tensors.linear("bert.pooler.dense", hidden, hidden, 1.0, True)
    tensors.linear("cls.predictions.transform.dense", hidden, hidden, 1.0, True)
    tensors.norm("cls.predictions.transform.LayerNorm.weight", hidden)
    tensors.norm("cls.predictions.transform.LayerNorm.bias", hidden)
    tensors.norm("cls.predictions.bias", config["vocab_size"])
    return dict(tensors)


def save(path, tensors):
    safetensors_file.save(path, [(name, "F32", values) for name, values in tensors.items()])


def write_modules(folder, spec, layers):
    """Writes the files of sentence-transformers."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    width = spec["config"]["hidden_size"]
    (folder / "1_Pooling").mkdir()
    flags = {"mean": "mean_tokens", "cls": "cls_token", "lasttoken": "lasttoken"}
    pooling = {f"pooling_mode_{flag}": name == spec["pooling"] for name, flag in flags.items()}
    pooling = {"word_embedding_dimension": width, **pooling, "include_prompt": True}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    functions = {"Identity": "linear.Identity", "Tanh": "activation.Tanh"}
    for index, layer in enumerate(layers):
        outputs, bias, function = spec["dense"][index]
        path = f"{index + 2}_Dense"
        modules.append((path, "Dense"))
        (folder / path).mkdir()
        config = {
            "in_features": width,
            "out_features": outputs,
            "bias": bias,
            "activation_function": f"torch.nn.modules.{functions[function]}",
        }
        write_json(folder / path / "config.json", config)
        save(folder / path / "model.safetensors", layer)
        width = outputs
    if spec.get("normalize"):
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]
    write_json(folder / "modules.json", entries)
    if "prompts" in spec:
        prompts, default = spec["prompts"]
        config = {"prompts": prompts, "default_prompt_name": default}
        write_json(folder / "config_sentence_transformers.json", config)


def add_post_processor(path, before, after):
    """Makes a tokenizer put tokens before and after a text."""
    tokenizer = json.loads(path.read_text())
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    piece = lambda token: {"SpecialToken": {"id": token, "type_id": 0}}  # noqa: E731
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [*map(piece, before), {"Sequence": {"id": "A", "type_id": 0}}]
        + [*map(piece, after)],
        "pair": [],
        "special_tokens": {
            token: {"id": token, "ids": [ids[token]], "tokens": [token]}
            for token in {*before, *after}
        },
    }
    path.write_text(json.dumps(tokenizer))


def write_folder(folder, spec, weights, layers, vocabulary):
    folder.mkdir()
    write_json(folder / "config.json", spec["config"])
    if spec["family"] == "bert":
        (folder / "tokenizer.json").write_bytes(WORDPIECE.read_bytes())
    else:
        save_tokenizer(folder, *vocabulary)
        before = ["<|im_start|>"] if spec["family"] == "gemma3" else []
        after = ["<|im_end|>"] if spec["family"] == "gemma3" else ["<|endoftext|>"]
        add_post_processor(folder / "tokenizer.json", before, after)
    prefix = spec.get("prefix")
    tensors = {stored_name(name, prefix): values for name, values in weights.items()}
    if spec["config"]["architectures"] == ["BertForMaskedLM"]:
        tensors.update(heads_for_training(spec["config"]))
    save(folder / "model.safetensors", tensors)
    write_modules(folder, spec, layers)


def bert_tensors(config, weights):
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    suffixes = (".weight", ".bias")
    return [(names.get_name(name, try_suffixes=suffixes), it) for name, it in weights.items()]


def fill_bert(writer, spec):
    config = spec["config"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_token_type_count(config["type_vocab_size"])
    vocab = json.loads(WORDPIECE.read_text())["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.get)
    types = [CONTROL if token.startswith("[") and token.endswith("]") else 1 for token in tokens]

    def phantom(token, kind):
        if kind == CONTROL:
            return token
        return token[2:] if token.startswith("##") else "▁" + token

    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list([phantom(*it) for it in zip(tokens, types)])
    writer.add_token_types(types)
    writer.add_pad_token_id(vocab["[PAD]"])
    writer.add_unk_token_id(vocab["[UNK]"])
    writer.add_uint32("tokenizer.ggml.cls_token_id", vocab["[CLS]"])
    writer.add_sep_token_id(vocab["[SEP]"])
    writer.add_mask_token_id(vocab["[MASK]"])


def fill_decoder(writer, spec, vocabulary):
    tokens, types, merges = vocabulary
    FILLERS[spec["family"]](writer, spec["config"])
    is_gemma = spec["family"] == "gemma3"
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2 if is_gemma else 0)
    writer.add_add_bos_token(is_gemma)
    writer.add_add_eos_token(True)


def write_twin(path, spec, weights, layers, vocabulary):
    config = spec["config"]

    def fill(writer):
        writer.add_name(spec["name"])
        if spec["family"] == "bert":
            fill_bert(writer, spec)
        else:
            fill_decoder(writer, spec, vocabulary)
        writer.add_pooling_type(POOLING[spec["pooling"]])
        width = config["hidden_size"]
        for index, (outputs, _, _) in enumerate(spec.get("dense", []), 2):
            writer.add_dense_features_dims(f"dense_{index}", width, outputs)
            width = outputs
        writer.add_file_type(0)

    if spec["family"] == "bert":
        tensors = bert_tensors(config, weights)
    else:
        tensors = twin_tensors(spec["family"], config, weights, config["num_hidden_layers"])
    for index, layer in enumerate(layers, 2):
        tensors.append((f"dense_{index}.weight", layer["linear.weight"]))
    tensors = [(name, values, Type.F32) for name, values in tensors]
    write_gguf(path, spec.get("architecture", spec["family"]), fill, tensors)


def make(folder):
    tokens, types, merges = tiny_tokenizer(300, "")
    for spec in SPECS:
        weights, layers = draw(spec)
        vocabulary = (tokens, types, merges)
        write_folder(folder / spec["name"], spec, weights, layers, vocabulary)
        if "no_twin" not in spec:
            write_twin(folder / f"{spec['name']}.gguf", spec, weights, layers, vocabulary)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--verify"]
    parent = Path(arguments[0]) if arguments else cache() / "derived"
    once(parent / "embeddings", inputs([HERE / script for script in SCRIPTS]), make)


if __name__ == "__main__":
    main()
