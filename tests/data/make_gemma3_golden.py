"""Makes tests/data/golden/gemma3.json: outputs of Gemma 3 270M by reference implementations.

Token ids are from SentencePiece with the vocabulary of the GGUF file, answers and log-probabilities
from Hugging Face transformers in f32 with the dequantized weights. As a base model without a chat
template, it continues the prompts.

    pip install -r tests/data/tiny/requirements.txt sentencepiece==0.2.3 protobuf==7.36.2
    python tests/data/make_gemma3_golden.py ~/.cache/tablm/models/gemma-3-270m-q4_k_m.gguf
"""

import hashlib
import json
import pathlib
import sys

import torch
from gguf import GGUFReader, dequantize
from sentencepiece import SentencePieceProcessor
from sentencepiece import sentencepiece_model_pb2 as sentencepiece_model
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "text"))
from texts import TEXTS  # noqa: E402

PROMPTS = {
    "capital": "Question: What is the capital of France?\nAnswer:",
    "days": "The days of the week are Monday, Tuesday,",
    "german": "Frage: Was ist die Hauptstadt von Österreich?\nAntwort:",
    "code": "def square(x):\n    return",
}
TOKENS = 8
TOP = 10

NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def field(reader, key):
    found = reader.fields[key]
    return (
        [found.contents(i) for i in range(len(found.data))]
        if "ARRAY" in str(found.types[0])
        else found.contents()
    )


def tokenizer(reader):
    """Builds a SentencePiece processor with the file's pieces, scores and types."""
    model = sentencepiece_model.ModelProto()
    lists = [reader.fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "scores", "token_type")]
    for token, score, kind in zip(*([found.parts[i] for i in found.data] for found in lists)):
        piece = model.pieces.add()
        text, piece.score, piece.type = bytes(token).decode(), float(score[0]), int(kind[0])
        # User-defined pieces, which SentencePiece matches before merging, have two types in the
        # file and contain unescaped spaces.
        if piece.type == 4 or piece.type == 3 and text not in ("<pad>", "<eos>", "<bos>"):
            text, piece.type = text.replace(" ", "▁"), 4
        piece.piece = text
    trainer = model.trainer_spec
    trainer.model_type, trainer.byte_fallback = 2, True
    trainer.unk_id = field(reader, "tokenizer.ggml.unknown_token_id")
    model.pieces[trainer.unk_id].type = 2
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    return SentencePieceProcessor(model_proto=model.SerializeToString())


def hugging_face_name(name):
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{NAMES[part]}.weight"


def model(reader):
    get = lambda key: field(reader, f"gemma3.{key}")  # noqa: E731
    config = Gemma3TextConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        hidden_size=get("embedding_length"),
        intermediate_size=get("feed_forward_length"),
        num_hidden_layers=get("block_count"),
        num_attention_heads=get("attention.head_count"),
        num_key_value_heads=get("attention.head_count_kv"),
        head_dim=get("attention.key_length"),
        query_pre_attn_scalar=get("attention.key_length"),
        max_position_embeddings=get("context_length"),
        rms_norm_eps=get("attention.layer_norm_rms_epsilon"),
        sliding_window=get("attention.sliding_window"),
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": get("rope.freq_base")},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
        attn_implementation="eager",
    )
    weights = {}
    for tensor in reader.tensors:
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        # The GGUF converter adds one to the weights of norms.
        weights[hugging_face_name(tensor.name)] = values - 1 if "norm" in tensor.name else values
    found = Gemma3ForCausalLM(config)
    missing, unexpected = found.load_state_dict(weights, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    found.tie_weights()
    return found.eval()


@torch.no_grad()
def answer(model, ids):
    """Returns greedy ids, the most likely first tokens, and the smallest gap to a second choice."""
    found, gaps = [], []
    for step in range(TOKENS):
        logits = torch.log_softmax(model(torch.tensor([ids + found])).logits[0, -1].double(), -1)
        top = torch.topk(logits, TOP)
        if step == 0:
            first = [
                [int(id), round(float(value), 6)] for id, value in zip(top.indices, top.values)
            ]
        gaps.append(float(top.values[0] - top.values[1]))
        found.append(int(top.indices[0]))
    return {"gen_ids": found, "first_top10": first, "smallest_gap": round(min(gaps), 4)}


def main():
    path = pathlib.Path(sys.argv[1])
    reader = GGUFReader(path)
    pieces = tokenizer(reader)
    reference = model(reader)
    bos = field(reader, "tokenizer.ggml.bos_token_id")
    prompts = {}
    for name, text in PROMPTS.items():
        ids = [bos, *pieces.encode(text)]
        found = answer(reference, ids)
        prompts[name] = {
            "text": text,
            "ids": ids,
            "gen_text": pieces.decode(found["gen_ids"]),
            **found,
        }
        print(name, prompts[name])
    result = {
        "model": {
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        },
        "prompts": prompts,
        "texts": [[text, pieces.encode(text)] for text in TEXTS],
    }
    target = HERE / "golden" / "gemma3.json"
    target.write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(target, target.stat().st_size)


main()
