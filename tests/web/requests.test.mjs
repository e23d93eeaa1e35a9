// What a request may hold: every wrong field is refused by name, nothing is ignored.
// The checks are the package's own and need no browser.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { before, test } from "node:test";
import { root } from "./support.mjs";

const { build } = createRequire(join(root, "pkg", "package.json"))("esbuild");
const messages = [{ role: "user", content: "Hi" }];
const tool = { type: "function", function: { name: "f", parameters: { type: "object" } } };
const call = { id: "abc", type: "function", function: { name: "f", arguments: "{}" } };
let checkRequest;

before(async () => {
  const { outputFiles } = await build({ entryPoints: [join(root, "pkg/src/request.ts")], bundle: true, format: "esm", write: false });
  ({ checkRequest } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`));
});

const REFUSED = [
  ["messages", {}],
  ["messages", { messages: [] }],
  ["messages", { messages: "Hi" }],
  ["messages[0]", { messages: ["Hi"] }],
  ["messages[0].role", { messages: [{ role: "function", content: "x" }] }],
  ["messages[0].tool_call_id", { messages: [{ role: "tool", content: "x" }] }],
  ["messages[0].tool_calls", { messages: [{ role: "user", content: "x", tool_calls: [call] }] }],
  ["messages[0].content", { messages: [{ role: "assistant" }] }],
  ["messages[0].reasoning_content", { messages: [{ role: "assistant", content: "x", reasoning_content: 5 }] }],
  ["messages[0].content", { messages: [{ role: "user", content: 5 }] }],
  ["messages[0].content[0]", { messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] }],
  ["messages[0].tool_calls[0]", { messages: [{ role: "assistant", content: "", tool_calls: [{}] }] }],
  ["messages[0].tool_calls[0].id", { messages: [{ role: "assistant", tool_calls: [{ ...call, id: null }] }] }],
  ["messages[0].tool_calls[0].function.arguments", { messages: [{ role: "assistant", tool_calls: [{ ...call, function: { name: "f", arguments: {} } }] }] }],
  ["tools", { messages, tools: "f" }],
  ["tool_choice", { messages, tools: [tool], tool_choice: "required" }],
  ["tool_choice", { messages, tools: [tool], tool_choice: { type: "function", function: { name: "f" } } }],
  ["parallel_tool_calls", { messages, tools: [tool], parallel_tool_calls: false }],
  ["functions", { messages, functions: [tool.function] }],
  ["response_format", { messages, response_format: { type: "json_object" } }],
  ["logprobs", { messages, logprobs: true }],
  ["top_logprobs", { messages, top_logprobs: 2 }],
  ["reasoning_effort", { messages, reasoning_effort: "some" }],
  ["temprature", { messages, temprature: 1 }],
  ["temperature", { messages, temperature: -1 }],
  ["temperature", { messages, temperature: NaN }],
  ["temperature", { messages, temperature: "1" }],
  ["top_p", { messages, top_p: 1.5 }],
  ["top_k", { messages, top_k: 2.5 }],
  ["min_p", { messages, min_p: 2 }],
  ["max_completion_tokens", { messages, max_completion_tokens: 0 }],
  ["max_tokens", { messages, max_tokens: 1e12 }],
  ["max_tokens", { messages, max_tokens: 5, max_completion_tokens: 6 }],
  ["seed", { messages, seed: 0.5 }],
  ["stop[0]", { messages, stop: "" }],
  ["stop", { messages, stop: Array(17).fill("x") }],
  ["frequency_penalty", { messages, frequency_penalty: 3 }],
  ["presence_penalty", { messages, presence_penalty: Infinity }],
  ["repetition_penalty", { messages, repetition_penalty: 0 }],
  ["logit_bias", { messages, logit_bias: { the: 1 } }],
  ["logit_bias.5", { messages, logit_bias: { 5: 101 } }],
  ["logit_bias", { messages, logit_bias: [1] }],
  ["n", { messages, n: 2 }],
  ["stream", { messages, stream: "yes" }],
  ["stream_options", { messages, stream_options: { include_usage: true } }],
  ["model", { messages, model: 5 }],
  ["request", null],
];
for (const [field, request] of REFUSED) {
  test(`refuses ${JSON.stringify(request)?.slice(0, 70)}`, () => {
    assert.throws(
      () => checkRequest(request),
      (error) => error.code === "invalid-request" && error.message.startsWith(`${field}: `),
    );
  });
}

test("puts a request into the engine's words", () => {
  const { engine, stream, model } = checkRequest({
    messages: [{ role: "developer", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] }, ...messages],
    model: "any",
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0,
    top_p: null,
    max_tokens: 5,
    stop: "x",
    logit_bias: { 5: -100 },
    n: 1,
    logprobs: false,
    tools: [],
  });
  assert.deepEqual(engine, {
    messages: [{ role: "system", content: "ab" }, ...messages],
    temperature: 0,
    max_completion_tokens: 5,
    stop: ["x"],
    logit_bias: { 5: -100 },
  });
  assert.deepEqual([stream, model], [true, "any"]);
});

test("hands tools and calls on, and an effort as on or off", () => {
  const answered = { role: "assistant", content: null, reasoning_content: "hm", tool_calls: [call], refusal: null };
  const history = [...messages, answered, { role: "tool", tool_call_id: "abc", content: [{ type: "text", text: "5" }] }];
  const { engine } = checkRequest({ messages: history, tools: [tool], tool_choice: "auto", parallel_tool_calls: true, reasoning_effort: "low" });
  assert.deepEqual(engine, {
    messages: [
      ...messages,
      { role: "assistant", content: null, tool_calls: [call], reasoning_content: "hm" },
      { role: "tool", content: "5", tool_call_id: "abc" },
    ],
    tools: [tool],
    thinking: true,
  });
  assert.deepEqual(checkRequest({ messages, tools: [tool], tool_choice: "none", reasoning_effort: "none" }).engine, { messages, thinking: false });
});

test("refuses formats and variants that there are not", async () => {
  const { outputFiles } = await build({ entryPoints: [join(root, "pkg/src/index.ts")], bundle: true, format: "esm", write: false });
  const { TabLM } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
  for (const call of [TabLM.load, TabLM.estimate]) {
    const refused = call("https://example.com/tiny.gguf", { quantise: "q4" });
    await assert.rejects(refused, { code: "invalid-request", message: "quantise: found q4, expected T4 or Q8_0" });
    const cache = call("https://example.com/tiny.gguf", { kvFormat: "f8" });
    await assert.rejects(cache, { code: "invalid-request", message: "kvFormat: found f8, expected f32, f16 or q8" });
    const lanes = call("https://example.com/tiny.gguf", { variant: "fast" });
    await assert.rejects(lanes, { code: "invalid-request", message: /^variant: found fast, expected together, .* or pairs$/ });
    const tile = call("https://example.com/tiny.gguf", { tile: "wide" });
    await assert.rejects(tile, { code: "invalid-request", message: "tile: found wide, expected staged, registers, quads or eights" });
    const cpu = call("https://example.com/tiny.gguf", { cpuVariant: "fast" });
    await assert.rejects(cpu, { code: "invalid-request", message: "cpuVariant: found fast, expected exact, portable, simd128 or relaxed" });
  }
});
