// Requests, options and sources, as far as the package checks them before the engine does; no
// browser is needed. Unknown and invalid fields are refused by name; only fields that can have no
// effect in a browser are ignored.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { inspect } from "node:util";
import { bundle } from "./support.mjs";

const messages = [{ role: "user", content: "Hi" }];
const tool = { type: "function", function: { name: "f", parameters: { type: "object" } } };
const call = { id: "abc", type: "function", function: { name: "f", arguments: "{}" } };
let checkRequest;

/** Imports a module of the package. */
async function importModule(path) {
  return import(`data:text/javascript,${encodeURIComponent(await bundle("pkg/src", path))}`);
}

before(async () => {
  ({ checkRequest } = await importModule("request.ts"));
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
  const title = inspect(request, { depth: 6, breakLength: Infinity, compact: true }).slice(0, 90);
  test(`refuses ${title}`, () => {
    assert.throws(
      () => checkRequest(request),
      (error) => error.code === "invalid-request" && error.message.startsWith(`${field}: `),
    );
  });
}

/** Returns a request as the engine receives it, and the fields that the package handles. */
const read = (request) => {
  const { engine, ...rest } = checkRequest(request);
  return { engine: JSON.parse(engine), ...rest };
};

test("passes fields that the engine checks on unchanged", () => {
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

test("ignores fields that have no effect in a browser", () => {
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

test("converts a request into the engine's form", () => {
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
    logprobs: true,
    top_logprobs: 2,
    tools: [],
  });
  assert.deepEqual(engine, {
    messages: [{ role: "system", content: "ab" }, ...messages],
    temperature: 0,
    max_completion_tokens: 5,
    stop: "x",
    logit_bias: { 5: -100 },
    logprobs: true,
    top_logprobs: 2,
  });
  assert.deepEqual([stream, model], [true, "any"]);
});

test("passes tools and calls on, and converts reasoning_effort to a boolean", () => {
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

/** Names of files on the hub, and their paths. */
const HUB_FILES = [
  ["a.gguf", "a.gguf"],
  ["of two/a..b v1.gguf", "of%20two/a..b%20v1.gguf"],
  ["a+b (1) 100%.gguf", "a%2Bb%20(1)%20100%25.gguf"],
  ["a%20b#c?d&e=f;g.gguf", "a%2520b%23c%3Fd%26e%3Df%3Bg.gguf"],
  ["größe/模型 😀.gguf", "gr%C3%B6%C3%9Fe/%E6%A8%A1%E5%9E%8B%20%F0%9F%98%80.gguf"],
  ["folder/", "folder/"],
];

test("encodes file names in URLs of the hub, and refuses relative paths", async () => {
  const { TabLM } = await importModule("index.ts");
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

test("refuses unknown option values, and names the known ones", async () => {
  const { TabLM } = await importModule("index.ts");
  const { optionValues } = await importModule("generated/options.ts");
  assert.ok(Object.keys(optionValues).length >= 6, `found ${Object.keys(optionValues)}`);
  for (const call of [TabLM.load, TabLM.estimate]) {
    for (const [option, values] of Object.entries(optionValues)) {
      const expected = `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`;
      await assert.rejects(call("https://example.com/tiny.gguf", { [option]: "none" }), {
        code: "invalid-request",
        message: `${option}: found none, expected ${expected}`,
      });
    }
    for (const options of [{ contextLength: 0 }, { threads: 1.5 }, { chatTemplate: 5 }]) {
      const [option] = Object.keys(options);
      await assert.rejects(call("https://example.com/tiny.gguf", options), {
        code: "invalid-request",
        message: new RegExp(`^${option}: found .*, expected `),
      });
    }
  }
});
