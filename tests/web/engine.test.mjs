// The package in Chromium: golden answers, sampling, the queue of requests, aborts and memory.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { checkGolden, golden, goldenRequest, MODEL } from "./golden.mjs";
import {
  allowNoGpu,
  MAX_WASM_HEAP_BYTES,
  memoryText,
  modelName,
  onGpu,
  openHarness,
} from "./support.mjs";

/** Loads the default model as `window.model`, with `window.ask` to send requests. */
function loadModel(harness, options = {}) {
  return harness.run(
    async ({ TabLM }, [url, options]) => {
      window.progress = [];
      window.model = await TabLM.load(url, {
        ...options,
        onProgress: (report) => window.progress.push(report),
      });
      // Resolves to the completion, or to the error's fields.
      window.ask = async (request, options) => {
        try {
          return await window.model.chat.completions.create(
            { temperature: 0, max_completion_tokens: 8, ...request },
            options,
          );
        } catch (error) {
          return { error: error.name, code: error.code, message: error.message };
        }
      };
      window.user = (content) => [{ role: "user", content }];
    },
    [MODEL, options],
  );
}

describe("a loaded model", () => {
  let harness;
  before(async () => {
    // The build with threads, whose shared memory WebGPU has to accept.
    harness = await openHarness({ isolated: true });
    // This strategy needs the most features that wgpu does not report in browsers.
    const strategy = !allowNoGpu && { strategy: "lane_per_quad_broadcast" };
    await loadModel(harness, { ...onGpu, threads: 2, ...strategy });
  });
  after(() => harness?.close());

  test("reports the model and the device in use", async (t) => {
    const info = await harness.run(() => window.model.info);
    t.diagnostic(JSON.stringify({ ...info, kernels: undefined }));
    assert.equal(info.architecture, "llama");
    assert.equal(info.name, modelName);
    assert.equal(info.build, "threads");
    assert.ok(
      info.parameters > 130e6 && info.parameters < 140e6,
      `found ${info.parameters} parameters`,
    );
    if (allowNoGpu) assert.equal(info.device.backend, "cpu");
    else {
      assert.notEqual(
        info.device.backend,
        "cpu",
        "there is no adapter; set ALLOW_NO_GPU=1 to test without",
      );
      assert.match(info.device.adapter, /[a-z]{3}/i);
      assert.ok(
        info.device.features.includes("subgroups") &&
          info.kernels.includes("matvec Q4_1 lane_per_quad_broadcast"),
        `${info.kernels}`,
      );
    }
  });

  test("reports every phase of the load", async () => {
    const progress = await harness.run(() => window.progress);
    const phases = new Set(progress.map((report) => report.phase));
    for (const phase of ["download", "upload"])
      assert.ok(phases.has(phase), `no ${phase} among ${[...phases]}`);
    const last = progress.filter((report) => report.phase === "download").at(-1);
    assert.deepEqual([last.loadedBytes, last.totalBytes], [golden.model.bytes, golden.model.bytes]);
    assert.equal(last.file, modelName);
    assert.ok(progress.some((report) => report.bytesPerSecond > 0 && report.etaSeconds >= 0));
  });

  for (const prompt of golden.prompts) {
    test(`answers the golden prompt ${prompt.id} as the reference does`, async () => {
      const answer = await harness.run((_, request) => window.ask(request), goldenRequest(prompt));
      checkGolden(prompt, answer);
    });
  }

  test(
    "submits once per step and reads 16 bytes back",
    { skip: allowNoGpu && "the CPU executor submits nothing" },
    async (t) => {
      const step = await harness.run(async () => {
        await window.ask({
          messages: window.user("Hi"),
          max_completion_tokens: 5,
          temperature: 0.5,
          top_p: 0.9,
        });
        return window.model.info.step;
      });
      t.diagnostic(JSON.stringify(step));
      const { submits, bindGroupsCreated, writeBufferBytes, readbackBytes } = step;
      assert.deepEqual(
        [submits, bindGroupsCreated, writeBufferBytes, readbackBytes],
        [1, 0, 0, 16],
      );
      assert.ok(step.encodeUs > 0 && step.weightBytes > 70e6, JSON.stringify(step));
    },
  );

  test("refuses a prompt longer than the context with context-full", async () => {
    const answer = await harness.run(() =>
      window.ask({ messages: window.user("word ".repeat(9000)) }),
    );
    assert.equal(answer.code, "context-full", JSON.stringify(answer).slice(0, 300));
  });

  test("aborts before and during prefill and decode, and stays usable", async () => {
    const results = await harness.run(async () => {
      const capital = {
        messages: window.user("What is the capital of France?"),
        max_completion_tokens: 4,
      };
      const seen = [];
      const early = new AbortController();
      early.abort();
      seen.push((await window.ask(capital, { signal: early.signal })).code);
      for (const [content, ms] of [
        ["word ".repeat(400), 50],
        ["Count to one thousand.", 1500],
      ]) {
        const controller = new AbortController();
        setTimeout(() => controller.abort(), ms);
        const start = performance.now();
        const answer = await window.ask(
          { messages: window.user(content), max_completion_tokens: 400 },
          { signal: controller.signal },
        );
        seen.push(answer.code, performance.now() - start < ms + 500);
      }
      const stream = await window.model.chat.completions.create({
        ...capital,
        stream: true,
        temperature: 0,
      });
      for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
      seen.push((await window.ask(capital)).choices?.[0].message.content);
      return seen;
    });
    assert.deepEqual(results, [
      "aborted",
      "aborted",
      true,
      "aborted",
      true,
      "The capital of France",
    ]);
  });

  test(
    "keeps the weights out of the wasm heap",
    { skip: allowNoGpu && "the CPU executor computes in the wasm heap" },
    async (t) => {
      const { memory } = await harness.run(() => window.model.info);
      t.diagnostic(memoryText(memory));
      assert.ok(
        memory.wasmHeapBytes < MAX_WASM_HEAP_BYTES,
        `found ${memory.wasmHeapBytes} bytes, expected less than ${MAX_WASM_HEAP_BYTES}`,
      );
    },
  );

  test("rejects running and later requests after dispose with disposed", async () => {
    const results = await harness.run(async () => {
      const running = window.ask({
        messages: window.user("Count to one thousand."),
        max_completion_tokens: 400,
      });
      await new Promise((resolve) => setTimeout(resolve, 200));
      await window.model.dispose();
      await window.model.dispose();
      return [(await running).code, (await window.ask({ messages: window.user("Hi") })).code];
    });
    assert.deepEqual(results, ["disposed", "disposed"]);
  });

  test("reports no console error and no policy violation", () => harness.expectQuiet());
});

// Tests that do not depend on the device, on the CPU: it is faster than a software adapter.
describe("requests", () => {
  let harness;
  before(async () => {
    harness = await openHarness();
    await loadModel(harness, { device: "cpu" });
  });
  after(() => harness?.close());

  test("stream OpenAI's chunks, with the usage in the last", async () => {
    const chunks = await harness.run(async () => {
      const stream = await window.model.chat.completions.create({
        messages: window.user("Hi"),
        stream: true,
        max_completion_tokens: 6,
        temperature: 0,
      });
      const seen = [];
      for await (const chunk of stream) seen.push(chunk);
      return seen;
    });
    const completion = await harness.run(() =>
      window.ask({ messages: window.user("Hi"), max_completion_tokens: 6 }),
    );
    assert.equal(
      chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""),
      completion.choices[0].message.content,
    );
    assert.deepEqual(chunks[0].choices[0].delta, { role: "assistant", content: "" });
    assert.ok(
      chunks.every(
        (chunk) => chunk.object === "chat.completion.chunk" && chunk.id === chunks[0].id,
      ),
    );
    const last = chunks.at(-1);
    assert.equal(last.choices[0].finish_reason, completion.choices[0].finish_reason);
    // The second time, all but the last token of the prompt is there.
    const cached_tokens = last.usage.prompt_tokens - 1;
    assert.deepEqual(completion.usage, { ...last.usage, prompt_tokens_details: { cached_tokens } });
    assert.equal(last.usage.prompt_tokens_details.cached_tokens, 0);
    assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + last.usage.completion_tokens);
    assert.ok(
      chunks
        .slice(0, -1)
        .every((chunk) => chunk.usage === undefined && chunk.choices[0].finish_reason === null),
    );
    assert.ok(last.timings.decode_tokens_per_s >= 0 && last.timings.prefill_ms > 0);
  });

  test("give the same answer for the same seed, and another for another seed", async () => {
    const ask = (seed) =>
      harness.run(
        (_, seed) =>
          window.ask({
            messages: window.user("Tell me a story."),
            temperature: 1.5,
            max_completion_tokens: 6,
            seed,
          }),
        seed,
      );
    const [first, again, other] = [await ask(7), await ask(7), await ask(8)].map(
      (answer) => answer.choices[0].message.content,
    );
    assert.equal(first, again);
    assert.notEqual(first, other);
  });

  test("end before a stop string", async () => {
    const answer = await harness.run(() =>
      window.ask({ messages: window.user("What is the capital of France?"), stop: ["France"] }),
    );
    assert.equal(answer.choices[0].message.content, "The capital of ");
    assert.equal(answer.choices[0].finish_reason, "stop");
  });

  test("run one after another when sent at once", async () => {
    const texts = await harness.run(async () => {
      const capital = {
        messages: window.user("What is the capital of France?"),
        max_completion_tokens: 3,
      };
      const answers = await Promise.all([
        window.ask(capital),
        window.ask({ messages: window.user("Hi"), max_completion_tokens: 3 }),
        window.ask(capital),
      ]);
      return answers.map((answer) => answer.choices[0].message.content);
    });
    assert.equal(texts[0], "The capital of");
    assert.equal(texts[2], texts[0]);
    assert.notEqual(texts[1], texts[0]);
  });

  test("report no console error and no policy violation", () => harness.expectQuiet());
});
