// A one-layer model that always generates the same token, as the bytes of a GGUF file.

import { responseRoute } from "./support.mjs";

const WIDTH = 32;
/** GGUF's types of metadata. */
const [STRING, ARRAY, UINT32, INT32, FLOAT32] = [8, 9, 4, 5, 6];
/** Kinds of tokens. */
const [NORMAL, CONTROL] = [1, 3];
/** Type of f32 tensors. */
const F32 = 0;

/** The character of each byte in GPT-2's byte-level vocabularies. */
const BYTES = (() => {
  const ranges = [
    [33, 126],
    [161, 172],
    [174, 255],
  ];
  const isPrintable = (byte) => ranges.some(([from, to]) => byte >= from && byte <= to);
  let others = 0;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint(isPrintable(byte) ? byte : 256 + others++),
  );
})();

const u32 = (value) => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const f32 = (...values) => Buffer.from(Float32Array.from(values).buffer);
const string = (text) => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)]);
const array = (type, items) => Buffer.concat([u32(type), u64(items.length), ...items]);

/** Returns the file of a model that repeats `text`. The default template is the last message. */
function constantModel(text, template = "{{ messages[-1].content }}") {
  const tokens = [
    ...BYTES,
    "<s>",
    "</s>",
    [...Buffer.from(text)].map((byte) => BYTES[byte]).join(""),
  ];
  const kinds = tokens.map((_, id) => u32(id === 256 || id === 257 ? CONTROL : NORMAL));
  const metadata = [
    ["general.architecture", STRING, string("llama")],
    ...Object.entries({
      context_length: 4096,
      embedding_length: WIDTH,
      block_count: 1,
      feed_forward_length: WIDTH,
      "attention.head_count": 1,
      "attention.head_count_kv": 1,
    }).map(([name, value]) => [`llama.${name}`, UINT32, u32(value)]),
    ["llama.attention.layer_norm_rms_epsilon", FLOAT32, f32(1e-5)],
    ["tokenizer.ggml.model", STRING, string("gpt2")],
    ["tokenizer.ggml.pre", STRING, string("gpt-2")],
    ["tokenizer.ggml.tokens", ARRAY, array(STRING, tokens.map(string))],
    ["tokenizer.ggml.token_type", ARRAY, array(INT32, kinds)],
    ["tokenizer.ggml.merges", ARRAY, array(STRING, [])],
    ["tokenizer.ggml.bos_token_id", UINT32, u32(256)],
    ["tokenizer.ggml.eos_token_id", UINT32, u32(257)],
    ["tokenizer.chat_template", STRING, string(template)],
  ];
  const zeros = (rows) => new Array(WIDTH * rows).fill(0);
  const ones = new Array(WIDTH).fill(1);
  const squares = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
  const tensors = [
    ["token_embd.weight", tokens.flatMap(() => ones)],
    ...["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"].map((name) => [`${name}.weight`, ones]),
    ...squares.map((name) => [`blk.0.${name}.weight`, zeros(WIDTH)]),
    ["output.weight", [...zeros(tokens.length - 1), ...ones]],
  ];
  let offset = 0;
  const infos = tensors.map(([name, values]) => {
    const shape = values.length === WIDTH ? [WIDTH] : [WIDTH, values.length / WIDTH];
    const info = Buffer.concat([
      string(name),
      u32(shape.length),
      ...shape.map(u64),
      u32(F32),
      u64(offset),
    ]);
    offset += values.length * 4;
    return info;
  });
  const head = Buffer.concat([
    Buffer.from("GGUF"),
    u32(3),
    u64(tensors.length),
    u64(metadata.length),
    ...metadata.map(([key, type, value]) => Buffer.concat([string(key), u32(type), value])),
    ...infos,
  ]);
  return Buffer.concat([
    head,
    Buffer.alloc(-head.length & 31),
    ...tensors.map(([, values]) => f32(...values)),
  ]);
}

/** Returns a route to the model that repeats `text`. */
export function constantModelRoute(text, template) {
  const bytes = constantModel(text, template);
  return responseRoute(200, { "Content-Length": bytes.length }, bytes);
}
