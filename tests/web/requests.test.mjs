// What a request may hold, as far as the package checks it before the engine: every wrong field is refused by
// name, nothing is ignored but what has no effect anywhere here. No browser is needed. And what sources name.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { before, test } from "node:test";
import { inspect } from "node:util";
import { root } from "./support.mjs";

const { build } = createRequire(join(root, "pkg", "package.json"))("esbuild");
const messages = [{ role: "user", content: "Hi" }];
const tool = { type: "function", function: { name: "f", parameters: { type: "object" } } };
const call = { id: "abc", type: "function", function: { name: "f", arguments: "{}" } };
let checkRequest;

before(async () => {
  const { outputFiles } = await build({
    entryPoints: [join(root, "pkg/src/request.ts")],
    bundle: true,
    format: "esm",
    write: false,
  });
  ({ checkRequest } = await import(
    `data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`
  ));
});

async function entryPoint() {
  const { outputFiles } = await build({
    entryPoints: [join(root, "pkg/src/index.ts")],
    bundle: true,
    format: "esm",
    write: false,
  });
  return (await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`)).TabLM;
}

const REFUSED = [
  ["messages", {}],
  ["messages", { messages: [] }],
  ["messages", { messages: "Hi" }],
  ["messages[0]", { messages: ["Hi"] }],
  ["messages[0].role", { messages: [{ role: "function", content: "x" }] }],
  ["messages[0].tool_call_id", { messages: [{ role: "tool", content: "x" }] }],
  ["messages[0].tool_calls", { messages: [{ role: "user", content: "x", tool_calls: [call] }] }],
  ["messages[0].content", { messages: [{ role: "assistant" }] }],
  [
    "messages[0].reasoning_content",
    { messages: [{ role: "assistant", content: "x", reasoning_content: 5 }] },
  ],
  ["messages[0].content", { messages: [{ role: "user", content: 5 }] }],
  [
    "messages[0].content[0]",
    { messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] },
  ],
  [
    "messages[0].tool_calls[0]",
    { messages: [{ role: "assistant", content: "", tool_calls: [{}] }] },
  ],
  [
    "messages[0].tool_calls[0].id",
    { messages: [{ role: "assistant", tool_calls: [{ ...call, id: null }] }] },
  ],
  [
    "messages[0].tool_calls[0].function.arguments",
    {
      messages: [
        { role: "assistant", tool_calls: [{ ...call, function: { name: "f", arguments: {} } }] },
      ],
    },
  ],
  ["tools", { messages, tools: "f" }],
  ["tool_choice", { messages, tools: [tool], tool_choice: "required" }],
  [
    "tool_choice",
    { messages, tools: [tool], tool_choice: { type: "function", function: { name: "f" } } },
  ],
  ["functions", { messages, functions: [tool.function] }],
  ["response_format", { messages, response_format: { type: "json_object" } }],
  ["logprobs", { messages, logprobs: true }],
  ["top_logprobs", { messages, top_logprobs: 2 }],
  ["reasoning_effort", { messages, reasoning_effort: "some" }],
  ["temprature", { messages, temprature: 1 }],
  ["temperature", { messages, temperature: NaN }],
  ["presence_penalty", { messages, presence_penalty: Infinity }],
  ["seed", { messages, seed: 5n }],
  ["logit_bias", { messages, logit_bias: { 5: NaN } }],
  ["stop", { messages, stop: [() => "x"] }],
  ["max_tokens", { messages, max_tokens: 5, max_completion_tokens: 6 }],
  ["n", { messages, n: 2 }],
  ["stream", { messages, stream: "yes" }],
  ["stream_options", { messages, stream_options: { include_usage: true } }],
  ["model", { messages, model: 5 }],
  ["request", null],
];
for (const [field, request] of REFUSED) {
  test(`refuses ${inspect(request, { depth: 6, breakLength: Infinity, compact: true }).slice(0, 90)}`, () => {
    assert.throws(
      () => checkRequest(request),
      (error) => error.code === "invalid-request" && error.message.startsWith(`${field}: `),
    );
  });
}

/** A request as the engine gets it. */
const read = (request) => {
  const { engine, ...rest } = checkRequest(request);
  return { engine: JSON.parse(engine), ...rest };
};

test("leaves ranges to the engine, and its fields as they are", () => {
  const fields = {
    temperature: -1,
    top_p: 0,
    top_k: 2.5,
    min_p: "1",
    seed: -5,
    frequency_penalty: 3,
    presence_penalty: 1e300,
    repetition_penalty: 0,
    stop: ["", 5],
    logit_bias: { the: 1 },
    max_completion_tokens: 0,
  };
  assert.deepEqual(read({ messages, ...fields }).engine, { messages, ...fields });
});

test("takes what has no effect here", () => {
  const fields = {
    user: "a",
    store: true,
    metadata: { a: "b" },
    service_tier: "auto",
    prompt_cache_key: "c",
    safety_identifier: "d",
    parallel_tool_calls: false,
  };
  assert.deepEqual(read({ messages, ...fields }).engine, { messages });
});

test("refuses a field that refers to itself", () => {
  const schema = { type: "object" };
  schema.properties = schema;
  const request = {
    messages,
    tools: [{ type: "function", function: { name: "f", parameters: schema } }],
  };
  assert.throws(() => checkRequest(request), { code: "invalid-request", message: /^tools: / });
});

test("puts a request into the engine's words", () => {
  const { engine, stream, model } = read({
    messages: [
      {
        role: "developer",
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ],
      },
      ...messages,
    ],
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
    stop: "x",
    logit_bias: { 5: -100 },
  });
  assert.deepEqual([stream, model], [true, "any"]);
});

test("hands tools and calls on, and an effort as on or off", () => {
  const answered = {
    role: "assistant",
    content: null,
    reasoning_content: "hm",
    tool_calls: [call],
    refusal: null,
  };
  const history = [
    ...messages,
    answered,
    { role: "tool", tool_call_id: "abc", content: [{ type: "text", text: "5" }] },
  ];
  const { engine } = read({
    messages: history,
    tools: [tool],
    tool_choice: "auto",
    parallel_tool_calls: true,
    reasoning_effort: "low",
  });
  assert.deepEqual(engine, {
    messages: [
      ...messages,
      { role: "assistant", content: null, tool_calls: [call], reasoning_content: "hm" },
      { role: "tool", content: "5", tool_call_id: "abc" },
    ],
    tools: [tool],
    thinking: true,
  });
  assert.deepEqual(
    read({ messages, tools: [tool], tool_choice: "none", reasoning_effort: "none" }).engine,
    { messages, thinking: false },
  );
});

/** Files of the hub, by their names. */
const HUB_FILES = [
  ["a.gguf", "a.gguf"],
  ["of two/a..b v1.gguf", "of%20two/a..b%20v1.gguf"],
  ["a+b (1) 100%.gguf", "a%2Bb%20(1)%20100%25.gguf"],
  ["a%20b#c?d&e=f;g.gguf", "a%2520b%23c%3Fd%26e%3Df%3Bg.gguf"],
  ["größe/模型 😀.gguf", "gr%C3%B6%C3%9Fe/%E6%A8%A1%E5%9E%8B%20%F0%9F%98%80.gguf"],
  ["folder/", "folder/"],
];

test("names files of the hub as they are", async () => {
  const TabLM = await entryPoint();
  for (const [name, path] of HUB_FILES) {
    assert.equal(
      TabLM.resolve(`hf:owner/repo/${name}`),
      `https://huggingface.co/owner/repo/resolve/main/${path}`,
    );
    assert.equal(
      TabLM.resolve(`hf:owner/repo@v1/${name}`, { hubUrl: "http://localhost/hub" }),
      `http://localhost/hub/owner/repo/resolve/v1/${path}`,
    );
  }
  assert.equal(TabLM.resolve("hf:owner/repo"), "https://huggingface.co/owner/repo/resolve/main/");
  for (const name of ["../a.gguf", "a/../b.gguf", "./a.gguf", "\ud800.gguf"]) {
    assert.throws(() => TabLM.resolve(`hf:owner/repo/${name}`), { code: "invalid-request" }, name);
  }
  for (const source of [
    "hf:../repo/a.gguf",
    "hf:owner/..",
    "hf:owner/repo@../a.gguf",
    "hf:owner",
  ]) {
    assert.throws(() => TabLM.resolve(source), { code: "invalid-request" }, source);
  }
});

test("refuses formats and variants that there are not", async () => {
  const TabLM = await entryPoint();
  for (const call of [TabLM.load, TabLM.estimate]) {
    const refused = call("https://example.com/tiny.gguf", { quantize: "q4" });
    await assert.rejects(refused, {
      code: "invalid-request",
      message: "quantize: found q4, expected T4 or Q8_0",
    });
    const cache = call("https://example.com/tiny.gguf", { kvFormat: "f8" });
    await assert.rejects(cache, {
      code: "invalid-request",
      message: "kvFormat: found f8, expected f32, f16 or q8",
    });
    const lanes = call("https://example.com/tiny.gguf", { variant: "fast" });
    await assert.rejects(lanes, {
      code: "invalid-request",
      message: /^variant: found fast, expected together, .* or pairs$/,
    });
    const tile = call("https://example.com/tiny.gguf", { tile: "wide" });
    await assert.rejects(tile, {
      code: "invalid-request",
      message: "tile: found wide, expected staged, registers, quads or eights",
    });
    const cpu = call("https://example.com/tiny.gguf", { cpuVariant: "fast" });
    await assert.rejects(cpu, {
      code: "invalid-request",
      message: "cpuVariant: found fast, expected exact, portable, simd128 or relaxed",
    });
  }
});
