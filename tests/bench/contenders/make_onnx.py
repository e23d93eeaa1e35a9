"""Converts a Llama GGUF file to an ONNX model for transformers.js: `make_onnx.py GGUF FOLDER`.

The graph follows onnxruntime-genai's model builder for WebGPU: 4-bit matrices in blocks of 32
with one scale (MatMulNBits), queries, keys and values in one product, attention with rotary
positions and KV cache in one operator (GroupQueryAttention), logits for every row. Activations
are f32 because SwiftShader does not support f16. A `tensor` is a function from a tensor's GGUF
name, without `.weight`, to its f32 values.
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from onnx import TensorProto, helper, numpy_helper, save

BLOCK = 32
DOMAIN = "com.microsoft"


class Graph:
    """Nodes and constants in order; methods return the names of their outputs."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind, inputs, name, outputs=1, domain="", **attributes):
        """Adds a node; of several outputs it names and returns the first and the last."""
        names = [name] if outputs == 1 else [name, *("" for _ in range(outputs - 2)), f"{name}.sum"]
        self.nodes.append(
            helper.make_node(kind, inputs, names, name=name, domain=domain, **attributes)
        )
        return names[0] if outputs == 1 else (names[0], names[-1])

    def matmul(self, x, weights, name):
        """Adds the product of `x` and a matrix of rows × columns, quantized to 4 bits."""
        packed, scales = quantize(weights)
        rows, columns = weights.shape
        inputs = [
            x,
            self.constant(f"{name}.quants", packed),
            self.constant(f"{name}.scales", scales.reshape(-1)),
        ]
        sizes = {"N": rows, "K": columns, "bits": 4, "block_size": BLOCK, "accuracy_level": 4}
        return self.add("MatMulNBits", inputs, name, domain=DOMAIN, **sizes)


def quantize(weights):
    """Returns nibbles `q` and scales of `(q - 8) * scale`; the largest magnitude has `q = 0`."""
    blocks = weights.reshape(weights.shape[0], -1, BLOCK)
    furthest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)
    scales = furthest / -8
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    quants = np.clip(np.rint(blocks * inverse) + 8, 0, 15).astype(np.uint8)
    return quants[..., 0::2] | quants[..., 1::2] << 4, scales[..., 0].astype(np.float32)


def split_rotary_pairs(weights, heads):
    """Reorders rows for rotary positions: pairs are adjacent in GGUF, half a head apart in ONNX."""
    rows, columns = weights.shape
    return (
        weights.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )


def rotary(graph, positions, head_dim, base):
    """Returns the tables of cosines and sines, positions × half a head."""
    angles = np.outer(np.arange(positions), base ** (-np.arange(0, head_dim, 2) / head_dim))
    return [
        graph.constant(name, f(angles).astype(np.float32))
        for name, f in (("cos", np.cos), ("sin", np.sin))
    ]


def lengths(graph):
    """Returns GroupQueryAttention's inputs from the mask: last positions, longest length."""
    one = graph.constant("one", np.array([1], np.int64))
    axis = graph.constant("axis", np.array(1, np.int64))
    total = graph.add("ReduceSum", ["attention_mask", one], "mask.sum", keepdims=0)
    last = graph.add("Sub", [total, one], "mask.last")
    shape = graph.add("Shape", ["attention_mask"], "mask.shape")
    longest = graph.add("Gather", [shape, axis], "mask.longest")
    return [
        graph.add("Cast", [last], "seqlens_k", to=TensorProto.INT32),
        graph.add("Cast", [longest], "total_length", to=TensorProto.INT32),
    ]


def layers(graph, tensor, config):
    """Adds all nodes, from `input_ids` to `logits`; output layer and embedding share weights."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim, epsilon = config["head_dim"], config["rms_norm_eps"]
    tables = rotary(graph, config["max_position_embeddings"], head_dim, config["rope_theta"])
    attention = {
        "num_heads": heads,
        "kv_num_heads": kv_heads,
        "do_rotary": 1,
        "rotary_interleaved": 0,
        "scale": head_dim**-0.5,
    }
    mask = lengths(graph)
    embedding = graph.constant("embedding", tensor("token_embd"))
    x = graph.add("Gather", [embedding, "input_ids"], "embedded")
    norm = lambda name: graph.constant(name, tensor(name))
    normed = graph.add(
        "SimplifiedLayerNormalization",
        [x, norm("blk.0.attn_norm")],
        "norm",
        axis=-1,
        epsilon=epsilon,
    )
    # Returns the norm of x + y, and x + y.
    add_and_norm = lambda x, y, weight: graph.add(
        "SkipSimplifiedLayerNormalization",
        [x, y, norm(weight)],
        f"{weight}.out",
        4,
        DOMAIN,
        epsilon=epsilon,
    )
    count = config["num_hidden_layers"]
    for i in range(count):
        layer = f"blk.{i}"
        get = lambda name: tensor(f"{layer}.{name}")
        qkv = np.concatenate(
            [
                split_rotary_pairs(get("attn_q"), heads),
                split_rotary_pairs(get("attn_k"), kv_heads),
                get("attn_v"),
            ]
        )
        qkv = graph.matmul(normed, qkv, f"{layer}.qkv")
        inputs = [
            qkv,
            "",
            "",
            f"past_key_values.{i}.key",
            f"past_key_values.{i}.value",
            *mask,
            *tables,
        ]
        outputs = [f"{layer}.attention", f"present.{i}.key", f"present.{i}.value"]
        graph.nodes.append(
            helper.make_node(
                "GroupQueryAttention", inputs, outputs, name=outputs[0], domain=DOMAIN, **attention
            )
        )
        o = graph.matmul(outputs[0], get("attn_output"), f"{layer}.attn_output")
        normed, x = add_and_norm(x, o, f"{layer}.ffn_norm")
        gate = graph.matmul(normed, get("ffn_gate"), f"{layer}.ffn_gate")
        up = graph.matmul(normed, get("ffn_up"), f"{layer}.ffn_up")
        sigmoid = graph.add("Sigmoid", [gate], f"{layer}.sigmoid")
        silu = graph.add("Mul", [gate, sigmoid], f"{layer}.silu")
        gated = graph.add("Mul", [silu, up], f"{layer}.gated")
        down = graph.matmul(gated, get("ffn_down"), f"{layer}.ffn_down")
        next_norm = f"blk.{i + 1}.attn_norm" if i + 1 < count else "output_norm"
        normed, x = add_and_norm(x, down, next_norm)
    graph.matmul(normed, tensor("token_embd"), "logits")


def model(tensor, config):
    """Returns the ONNX model."""
    graph = Graph()
    layers(graph, tensor, config)
    # transformers.js derives the shape of the first step's empty cache from the axes' names.
    sizes = {
        "past": "past_sequence_length",
        "all": "total_sequence_length",
        "new": "sequence_length",
    }
    value = lambda name, kind, *shape: helper.make_tensor_value_info(
        name, kind, ["batch_size", *(sizes.get(axis, axis) for axis in shape)]
    )
    cache = lambda name, length: [
        value(
            f"{name}.{i}.{part}",
            TensorProto.FLOAT,
            config["num_key_value_heads"],
            length,
            config["head_dim"],
        )
        for i in range(config["num_hidden_layers"])
        for part in ("key", "value")
    ]
    ids = [
        value("input_ids", TensorProto.INT64, "new"),
        value("attention_mask", TensorProto.INT64, "all"),
    ]
    inputs = [*ids, *cache("past_key_values", "past")]
    outputs = [
        value("logits", TensorProto.FLOAT, "new", config["vocab_size"]),
        *cache("present", "all"),
    ]
    llama = helper.make_graph(graph.nodes, "llama", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(llama, opset_imports=opsets, ir_version=10)


def read(path):
    """Returns a GGUF file's tensors, as a function of their names, and its Hugging Face config."""
    reader = GGUFReader(path)
    field = lambda key: reader.fields[key].contents()
    llama = lambda key: field(f"llama.{key}")
    tensors = {tensor.name.removesuffix(".weight"): tensor for tensor in reader.tensors}
    tensor = lambda name: dequantize(tensors[name].data, tensors[name].tensor_type).astype(
        np.float32
    )
    heads = llama("attention.head_count")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": llama("embedding_length"),
        "intermediate_size": llama("feed_forward_length"),
        "num_hidden_layers": llama("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": llama("attention.head_count_kv"),
        "head_dim": llama("embedding_length") // heads,
        "max_position_embeddings": llama("context_length"),
        "rms_norm_eps": float(llama("attention.layer_norm_rms_epsilon")),
        "rope_theta": float(llama("rope.freq_base")),
        "vocab_size": int(tensors["token_embd"].shape[1]),
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "transformers.js_config": {"dtype": "q4"},
    }
    return tensor, config


def main():
    source, folder = sys.argv[1], Path(sys.argv[2])
    tensor, config = read(source)
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    save(model(tensor, config), folder / "onnx" / "model_q4.onnx")
    (folder / "config.json").write_text(json.dumps(config, indent=2))


main()
