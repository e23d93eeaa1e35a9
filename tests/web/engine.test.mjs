// The package in Chromium: golden answers, sampling, queueing, aborts, memory.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import {
  allowNoGpu,
  cacheRoute,
  derived,
  derivedRoutes,
  modelName,
  openHarness,
  readJson,
  readText,
} from "./support.mjs";

const MODEL = `/models/${modelName}`;
/** Not `auto`, which does not take a software adapter where the CPU is quicker. */
const onGpu = { device: allowNoGpu ? "cpu" : "webgpu" };
const WASM_HEAP_LIMIT_BYTES = 64 * 2 ** 20;
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const golden = readJson("tests", "data", "golden", "smollm2.json");
const HYBRID = "derived/tiny/nemotron_h-g2x3.gguf";
const gemma = readJson("tests", "data", "golden", "gemma3.json");

function goldenRequest(prompt) {
  const { length } = golden.hf_f32.prompts[prompt.id].gen_ids;
  return { messages: prompt.messages, temperature: 0, max_completion_tokens: length };
}

/**
 * The answer has the reference's ids. The two best logits of these prompts are never closer
 * than 0.006, so none may differ.
 */
function checkGolden(prompt, answer) {
  const { gen_ids: ids, gen_text: whole } = golden.hf_f32.prompts[prompt.id];
  assert.ok(answer.choices, JSON.stringify(answer));
  const { message, finish_reason } = answer.choices[0];
  assert.deepEqual(answer.token_ids, ids);
  // The reference shows half a character at the end as U+FFFD and the token that ends an answer.
  assert.equal(message.content, whole.replace(/<\|im_end\|>$/, "").replace(/\ufffd+$/, ""));
  assert.equal(answer.usage.prompt_tokens, prompt.prompt_ids.length);
  assert.equal(answer.usage.completion_tokens, ids.length);
  assert.equal(finish_reason, whole.endsWith("<|im_end|>") ? "stop" : "length");
}

/** Loads the default model as `window.model`, with short ways to ask it. */
function loadModel(harness, options = {}) {
  return harness.run(
    async ({ TabLM }, [url, options]) => {
      window.progress = [];
      window.model = await TabLM.load(url, {
        ...options,
        onProgress: (report) => window.progress.push(report),
      });
      // A whole answer: its text, or the error's code.
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
    // In the build that `auto` has on an isolated page, whose memory WebGPU gets views of.
    harness = await openHarness({ isolated: true });
    // Not only what suits the adapter: of all variants the one that leans most on what wgpu does not know.
    await loadModel(harness, { ...onGpu, threads: 2, ...(!allowNoGpu && { variant: "quads" }) });
  });
  after(() => harness?.close());

  test("says what it is and what it uses", async (t) => {
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
        info.device.features.includes("subgroups") && info.kernels.includes("matvec Q4_1 quads"),
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
    test(`golden: ${prompt.id}`, async () => {
      const answer = await harness.run((_, request) => window.ask(request), goldenRequest(prompt));
      checkGolden(prompt, answer);
    });
  }

  test(
    "needs one submission for a step, and 16 bytes back",
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
      const { submits, bind_groups_created, write_buffer_bytes, readback_bytes } = step;
      assert.deepEqual(
        [submits, bind_groups_created, write_buffer_bytes, readback_bytes],
        [1, 0, 0, 16],
      );
      assert.ok(step.encode_us > 0 && step.weight_bytes > 70e6, JSON.stringify(step));
    },
  );

  test("refuses a prompt longer than the context with context-full", async () => {
    const answer = await harness.run(() =>
      window.ask({ messages: window.user("word ".repeat(9000)) }),
    );
    assert.equal(answer.code, "context-full", JSON.stringify(answer).slice(0, 300));
  });

  test("aborts before, while reading the prompt and while answering, and stays usable", async () => {
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
      t.diagnostic(
        `wasm heap ${mebibytes(memory.wasm_heap_bytes)}, GPU ${mebibytes(memory.peak_gpu_bytes)}`,
      );
      assert.ok(
        memory.wasm_heap_bytes < WASM_HEAP_LIMIT_BYTES,
        `found ${memory.wasm_heap_bytes} bytes, expected less than ${WASM_HEAP_LIMIT_BYTES}`,
      );
    },
  );

  test("is of no use after dispose, and says so", async () => {
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

  test("reports no error and breaks no policy", () => harness.expectQuiet());
});

// What does not depend on the executor, on the one that is quicker than a software adapter.
describe("requests", () => {
  let harness;
  before(async () => {
    harness = await openHarness();
    await loadModel(harness, { device: "cpu" });
  });
  after(() => harness?.close());

  test("streams OpenAI's chunks, usage in the last", async () => {
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
    const whole = await harness.run(() =>
      window.ask({ messages: window.user("Hi"), max_completion_tokens: 6 }),
    );
    assert.equal(
      chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""),
      whole.choices[0].message.content,
    );
    assert.deepEqual(chunks[0].choices[0].delta, { role: "assistant", content: "" });
    assert.ok(
      chunks.every(
        (chunk) => chunk.object === "chat.completion.chunk" && chunk.id === chunks[0].id,
      ),
    );
    const last = chunks.at(-1);
    assert.equal(last.choices[0].finish_reason, whole.choices[0].finish_reason);
    assert.deepEqual(last.usage, whole.usage);
    assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + last.usage.completion_tokens);
    assert.ok(
      chunks
        .slice(0, -1)
        .every((chunk) => chunk.usage === undefined && chunk.choices[0].finish_reason === null),
    );
    assert.ok(last.timings.decode_tokens_per_s >= 0 && last.timings.prefill_ms > 0);
  });

  test("repeats itself for one seed and not for another", async () => {
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

  test("stops at a stop string and leaves it out", async () => {
    const answer = await harness.run(() =>
      window.ask({ messages: window.user("What is the capital of France?"), stop: ["France"] }),
    );
    assert.equal(answer.choices[0].message.content, "The capital of ");
    assert.equal(answer.choices[0].finish_reason, "stop");
  });

  test("runs simultaneous requests one after another", async () => {
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

  test("report no error and break no policy", () => harness.expectQuiet());
});

/** A worker whose adapter has a small GPU's limits. */
const SMALL_GPU = `
  const { get } = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, "limits");
  Object.defineProperty(GPUAdapter.prototype, "limits", {
    get() {
      const limits = get.call(this);
      const all = Object.keys(GPUSupportedLimits.prototype).map((name) => [name, limits[name]]);
      return { ...Object.fromEntries(all), maxStorageBufferBindingSize: 200000 };
    },
  });
  import "/tablm/worker.js";
`;

/** A worker that tells the server when the browser has compiled a pipeline. */
const TELLING = `
  const { createComputePipelineAsync } = GPUDevice.prototype;
  GPUDevice.prototype.createComputePipelineAsync = async function (descriptor) {
    const pipeline = await createComputePipelineAsync.call(this, descriptor);
    await fetch("/compiled");
    return pipeline;
  };
  import "/tablm/worker.js";
`;

/** Routes to a file whose end comes once a pipeline is compiled, or never. */
function lateRoutes(path) {
  // Longer than what is read for a header at first.
  const bytes = Buffer.concat([readFileSync(path), Buffer.alloc(2 ** 20)]);
  let compiled;
  const isCompiled = new Promise((resolve) => (compiled = resolve));
  const late = (end) => async (request, response) => {
    response.writeHead(200, {
      "Content-Length": bytes.length,
      "Content-Type": "application/octet-stream",
    });
    if (request.method === "HEAD") return response.end();
    response.write(bytes.subarray(0, -100));
    await end;
    response.end(bytes.subarray(-100));
  };
  const noted = (request, response) => (compiled(), response.writeHead(204).end());
  return {
    "/late/tiny.gguf": late(isCompiled),
    "/never/tiny.gguf": late(new Promise(() => {})),
    "/compiled": noted,
  };
}

describe("other models", () => {
  let harness;
  before(async () => {
    const smallGpu = (request, response) =>
      response.writeHead(200, { "Content-Type": "text/javascript" }).end(SMALL_GPU);
    const telling = (request, response) =>
      response.writeHead(200, { "Content-Type": "text/javascript" }).end(TELLING);
    const late = lateRoutes(derived("tiny-Q4_K-256.gguf"));
    const files = derivedRoutes(["tiny-Q4_K-256.gguf", "SmolLM2-135M-Instruct-BF16"]);
    const routes = {
      ...cacheRoute(`models/${gemma.model.file}`),
      ...cacheRoute(HYBRID),
      "/small-gpu/worker.js": smallGpu,
      "/telling/worker.js": telling,
      ...late,
      ...files,
    };
    harness = await openHarness({ routes });
    await harness.run(() => {
      window.ask = (model, content, tokens) =>
        model.chat.completions.create({
          messages: [{ role: "user", content }],
          temperature: 0,
          max_completion_tokens: tokens,
        });
    });
  });
  after(() => harness?.close());

  // A tiny model, because what counts is the number of chats.
  test("wasm heap and GPU bytes stay where they are over 100 chats", async (t) => {
    const memory = await harness.run(async ({ TabLM }, onGpu) => {
      const model = await TabLM.load("/derived/tiny-Q4_K-256.gguf", onGpu);
      const seen = [];
      for (let index = 0; index <= 100; index += 1) {
        await window.ask(model, `Say ${index % 10}.`, 6);
        // The first chat may still grow what later ones use again.
        if (index > 0 && index % 20 === 0) seen.push(model.info.memory);
      }
      await model.dispose();
      return seen;
    }, onGpu);
    t.diagnostic(
      `wasm heap ${mebibytes(memory[0].wasm_heap_bytes)}, GPU ${mebibytes(memory[0].peak_gpu_bytes)}`,
    );
    for (const later of memory) assert.deepEqual(later, memory[0]);
  });

  test("auto takes the quicker one, says by what, and keeps that while it can be read", async (t) => {
    const found = await harness.run(async ({ TabLM }) => {
      const load = async () => {
        const model = await TabLM.load("/derived/tiny-Q4_K-256.gguf");
        await model.dispose();
        return model.info;
      };
      const infos = [await load(), await load()];
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("tablm");
      const writer = await (
        await folder.getFileHandle("verdicts.json", { create: true })
      ).createWritable();
      await writer.write('{"verdict": [');
      await writer.close();
      return [...infos, await load()];
    });
    const all = found.map(({ device }) => device.predicted);
    t.diagnostic(JSON.stringify(all));
    assert.deepEqual(
      all.map((predicted) => predicted?.cached),
      allowNoGpu ? [undefined, undefined, undefined] : [false, true, false],
    );
    if (!allowNoGpu)
      assert.ok(
        Math.abs(all[1].cpu_token_ms / all[0].cpu_token_ms - 1) < 1e-9,
        "the second is the first",
      );
    // Where prompts were measured too, they count.
    for (const { device, fallbackReason } of found.filter(
      ({ device }) => device.predicted?.prompt === undefined,
    )) {
      const { gpu_token_ms: gpu, cpu_token_ms: cpu } = device.predicted ?? {
        gpu_token_ms: Infinity,
        cpu_token_ms: 0,
      };
      assert.deepEqual(
        [device.backend, fallbackReason !== undefined],
        gpu <= cpu ? ["gpu", false] : ["cpu", true],
      );
    }
  });

  // The server keeps the end of the file back until the browser has compiled something.
  test(
    "compiles while a model is downloaded, and lets go when that is aborted",
    { skip: allowNoGpu && "there is no GPU" },
    async () => {
      const found = await harness.run(async ({ TabLM }) => {
        const options = { workerUrl: "/telling/worker.js", device: "webgpu" };
        const model = await TabLM.load("/late/tiny.gguf", options);
        const answer = await window.ask(model, "Hi", 2);
        const { pipelines } = model.info;
        await model.dispose();
        const signal = AbortSignal.timeout(1000);
        const aborted = await TabLM.load("/never/tiny.gguf", { ...options, signal }).catch(
          ({ code }) => code,
        );
        const kept = (await TabLM.models.list()).filter(({ source }) =>
          /(late|never)/.test(source),
        );
        return {
          tokens: answer.token_ids.length,
          pipelines,
          aborted,
          kept: kept.map(({ complete }) => complete),
        };
      });
      assert.ok(found.pipelines > 5 && found.tokens > 0, JSON.stringify(found));
      assert.deepEqual([found.aborted, found.kept], ["aborted", [true]]);
    },
  );

  test(
    "a GPU that is too small is refused before a weight is read",
    { skip: allowNoGpu && "there is no GPU" },
    async () => {
      const results = await harness.run(async ({ TabLM }) => {
        const url = "/derived/tiny-Q4_K-256.gguf";
        const options = { workerUrl: "/small-gpu/worker.js", device: "webgpu", kvFormat: "f32" };
        const phases = new Set();
        const load = TabLM.load(url, {
          ...options,
          contextLength: 512,
          onProgress: ({ phase }) => phases.add(phase),
        });
        const { code, message } = await load.catch((error) => error);
        const { fits, misfit } = await TabLM.estimate(url, { ...options, contextLength: 512 });
        const shorter = await TabLM.estimate(url, { ...options, contextLength: 256 });
        return {
          code,
          message,
          phases: [...phases],
          fits,
          misfit,
          shorter: [shorter.fits, shorter.misfit],
        };
      });
      assert.equal(results.code, "gpu-too-small", results.message);
      assert.match(
        results.message,
        /needs a buffer of 262144 bytes at a context of 512, this GPU allows 200000; a context of 256 fits/,
      );
      assert.ok(!results.phases.includes("upload"), `${results.phases}`);
      assert.deepEqual(
        [results.fits, results.misfit, results.shorter],
        [false, results.message, [true, null]],
      );
    },
  );

  test("a folder of safetensors answers as the GGUF does", async () => {
    const text = await harness.run(async ({ TabLM }) => {
      const model = await TabLM.load("/derived/SmolLM2-135M-Instruct-BF16", { device: "cpu" });
      const answer = await window.ask(model, "What is the capital of France?", 3);
      await model.dispose();
      return answer.choices[0].message.content;
    });
    assert.equal(text, "The capital of");
  });

  test("calls a tool after some reasoning, and goes on with the result", async () => {
    // A template that makes the model go on with a conversation in which it reasons and calls a tool.
    const calling = readText("tests", "data", "text", "tool_chat.jinja").trimEnd();
    const found = await harness.run(
      async ({ TabLM }, [url, chatTemplate]) => {
        const model = await TabLM.load(url, { device: "cpu", contextLength: 256, chatTemplate });
        const tool = (name) => ({
          type: "function",
          function: { name, parameters: { type: "object" } },
        });
        const call = {
          id: "abc",
          type: "function",
          function: { name: "time", arguments: '{"at": "Oslo"}' },
        };
        const messages = [
          { role: "user", content: "time in Oslo?" },
          { role: "assistant", content: null, tool_calls: [call] },
          { role: "tool", tool_call_id: "abc", content: "12:00" },
          { role: "user", content: "time in Rome?" },
        ];
        const request = {
          messages,
          tools: [tool("time")],
          reasoning_effort: "low",
          temperature: 0,
          max_completion_tokens: 60,
          stop: "A:",
        };
        const whole = await model.chat.completions.create(request);
        const chunks = [];
        for await (const chunk of await model.chat.completions.create({ ...request, stream: true }))
          chunks.push(chunk.choices[0]);
        const refused = await model.chat.completions
          .create({ ...request, tools: [tool("")] })
          .catch((error) => [error.code, error.message]);
        await model.dispose();
        return {
          whole: whole.choices[0],
          chunks,
          refused,
          info: [model.info.thinking, model.info.tools],
        };
      },
      [MODEL, calling],
    );
    assert.deepEqual(found.info, ["optional", true]);
    const { id } = found.whole.message.tool_calls[0];
    const call = { id, type: "function", function: { name: "time", arguments: '{"at":"Rome"}' } };
    const message = {
      role: "assistant",
      content: null,
      reasoning_content: "Rome",
      tool_calls: [call],
      refusal: null,
    };
    assert.deepEqual(found.whole, {
      index: 0,
      message,
      finish_reason: "tool_calls",
      logprobs: null,
    });
    const deltas = found.chunks.map((choice) => choice.delta);
    assert.equal(deltas.map((delta) => delta.reasoning_content ?? "").join(""), "Rome");
    assert.equal(deltas.map((delta) => delta.content ?? "").join(""), "");
    assert.deepEqual(
      deltas.flatMap((delta) => delta.tool_calls ?? []),
      [{ index: 0, ...call }],
    );
    assert.equal(found.chunks.at(-1).finish_reason, "tool_calls");
    assert.equal(found.refused[0], "invalid-request");
    assert.match(found.refused[1], /^tools\[0\]\.function\.name: /);
  });

  // More than a chunk of a prompt, then steps: both forms of the scan, and T4 in both products.
  test(
    "a hybrid, quantized while it is read, answers on the GPU as on the CPU, and on both",
    { skip: allowNoGpu && "there is no GPU" },
    async () => {
      const [gpu, cpu, shared] = await harness.run(async ({ TabLM }, url) => {
        const answers = [];
        for (const device of ["webgpu", "cpu", "shared"]) {
          const model = await TabLM.load(url, {
            device,
            cpuVariant: "exact",
            quantize: "T4",
            contextLength: 256,
            chatTemplate: "{{ messages[0].content }}",
          });
          const answer = await window.ask(model, "a b c d e f g h ".repeat(6), 12);
          answers.push({
            ids: answer.token_ids,
            prompt: answer.usage.prompt_tokens,
            kernels: model.info.kernels,
            backend: model.info.device.backend,
          });
          await model.dispose();
        }
        return answers;
      }, `/cache/${HYBRID}`);
      assert.ok(gpu.prompt > 64, `${gpu.prompt}`);
      assert.ok(gpu.ids.length > 1);
      for (const kernel of ["ssm_step", "ssm_scan", "matvec T4", "matmul T4"])
        assert.ok(
          gpu.kernels.some((name) => name.startsWith(kernel)),
          `${kernel} in ${gpu.kernels}`,
        );
      assert.deepEqual(gpu.ids, cpu.ids);
      assert.deepEqual([shared.ids, shared.backend], [cpu.ids, "shared"]);
    },
  );

  // A base model: it has no template but ours. No vocabulary is larger.
  test("Gemma 3 270M answers a question", async (t) => {
    const { answer, memory } = await harness.run(
      async ({ TabLM }, [url, onGpu]) => {
        const chatTemplate = "{{ bos_token }}Question: {{ messages[0].content }}\nAnswer:";
        const model = await TabLM.load(url, { ...onGpu, chatTemplate, contextLength: 64 });
        const answer = await window.ask(model, "What is the capital of France?", 2);
        const { memory } = model.info;
        await model.dispose();
        return { answer, memory };
      },
      [`/cache/models/${gemma.model.file}`, onGpu],
    );
    t.diagnostic(
      `wasm heap ${mebibytes(memory.wasm_heap_bytes)}, GPU ${mebibytes(memory.peak_gpu_bytes)}`,
    );
    assert.deepEqual(answer.token_ids, gemma.prompts.capital.gen_ids.slice(0, 2));
    assert.equal(answer.choices[0].message.content.trim(), "Paris");
    if (!allowNoGpu)
      assert.ok(
        memory.wasm_heap_bytes < WASM_HEAP_LIMIT_BYTES,
        `found ${memory.wasm_heap_bytes} bytes`,
      );
  });

  test("the page reported no error", () => harness.expectQuiet());
});

/** Four bits without offsets, eight with, eight without, and of these with two scales a block. */
const OTHER_WEIGHTS = [
  "SmolLM2-135M-Instruct.Q4_0.gguf",
  "SmolLM2-135M-Instruct.Q5_1.gguf",
  "SmolLM2-135M-Instruct.Q8_0.gguf",
  "tiny-Q6_K-256.gguf",
];

describe("without an adapter", () => {
  let harness;
  before(async () => {
    harness = await openHarness({ adapter: false, routes: derivedRoutes(OTHER_WEIGHTS) });
  });
  after(() => harness?.close());

  test("capabilities say so", async () => {
    const report = await harness.run(({ TabLM }) => TabLM.capabilities());
    assert.ok(!report.adapter, `found the adapter ${JSON.stringify(report.adapter)}`);
    assert.equal(report.storage.opfs, true);
  });

  test("the CPU executor gives the golden answers by the meaning of each kernel", async (t) => {
    await harness.run(
      async ({ TabLM }, url) =>
        void (window.model = await TabLM.load(url, { cpuVariant: "exact" })),
      MODEL,
    );
    const speeds = [];
    for (const prompt of golden.prompts) {
      const answer = await harness.run(
        (_, request) => window.model.chat.completions.create(request),
        goldenRequest(prompt),
      );
      checkGolden(prompt, answer);
      speeds.push(answer.timings.decode_tokens_per_s.toFixed(1));
    }
    t.diagnostic(`${speeds.join(", ")} tokens/s`);
    await harness.run(() => window.model.dispose());
  });

  // To the bit: none of them rounds otherwise.
  const others = OTHER_WEIGHTS.map((name) => [`/derived/${name}`]);
  for (const [url, quantize] of [[MODEL], ...others, [others.at(-1)[0], "T4"]]) {
    test(`the builds have the answer of plain loops: ${url} ${quantize ?? ""}`, async () => {
      const ask = (build, cpuVariant) =>
        harness.run(
          async ({ TabLM }, [url, options]) => {
            const model = await TabLM.load(url, options);
            const { token_ids } = await model.chat.completions.create({
              messages: [{ role: "user", content: "What is the capital of France?" }],
              temperature: 0,
              max_completion_tokens: 8,
            });
            await model.dispose();
            return { token_ids, build: model.info.build };
          },
          [
            url,
            { wasmUrl: { [build]: `/tablm/wasm/${build}/tablm_bg.wasm` }, cpuVariant, quantize },
          ],
        );
      const { token_ids } = await ask("simd", "portable");
      assert.ok(token_ids.length > 1, `found ${token_ids.length} tokens`);
      for (const [build, variant] of [
        ["simd", "simd128"],
        ["relaxed", "relaxed"],
      ])
        assert.deepEqual(await ask(build, variant), { token_ids, build });
    });
  }

  test("device webgpu is refused with no-gpu", async () => {
    const code = await harness.run(async ({ TabLM }, url) => {
      try {
        const model = await TabLM.load(url, { device: "webgpu" });
        return model.info.device;
      } catch (error) {
        return error.code;
      }
    }, MODEL);
    assert.equal(code, "no-gpu");
  });
});

test("a browser that has no memory for a model on the CPU gives an error with numbers", async (t) => {
  const harness = await openHarness({
    adapter: false,
    args: ["--js-flags=--wasm-max-mem-pages=1600"],
  });
  try {
    const error = await harness.run(async ({ TabLM }, url) => {
      const found = await TabLM.load(url, { device: "cpu" }).catch((error) => error);
      return { code: found.code, message: found.message };
    }, MODEL);
    t.diagnostic(error.message);
    assert.equal(error.code, "out-of-memory", error.message);
    assert.match(
      error.message,
      /needs \d{9} bytes of memory at a context of 4096, there are \d{8};/,
    );
  } finally {
    await harness.close();
  }
});
