// Models besides the default one in Chromium: memory, tuning, early compilation, formats, tools.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { MODEL } from "./golden.mjs";
import {
  allowNoGpu,
  cacheRoute,
  derived,
  derivedRoutes,
  MAX_WASM_HEAP_BYTES,
  memoryText,
  onGpu,
  openHarness,
  readJson,
  readText,
  scriptRoute,
} from "./support.mjs";

/** A model with Mamba-2 and attention layers. */
const NEMOTRON_H = "derived/tiny/nemotron_h-g2x3.gguf";
const gemma = readJson("tests", "data", "golden", "gemma3.json");

/** A worker script that gives the adapter the limits of a small GPU. */
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

/** A worker script that sends a request to the server when the browser has compiled a pipeline. */
const REPORTING = `
  const { createComputePipelineAsync } = GPUDevice.prototype;
  GPUDevice.prototype.createComputePipelineAsync = async function (descriptor) {
    const pipeline = await createComputePipelineAsync.call(this, descriptor);
    await fetch("/compiled");
    return pipeline;
  };
  import "/tablm/worker.js";
`;

/** Returns routes to a file whose last bytes are sent once a pipeline is compiled, or never. */
function delayedRoutes(path) {
  // Padded beyond the first read of the header.
  const bytes = Buffer.concat([readFileSync(path), Buffer.alloc(2 ** 20)]);
  let compiled;
  const isCompiled = new Promise((resolve) => (compiled = resolve));
  const delayed = (event) => async (request, response) => {
    response.writeHead(200, {
      "Content-Length": bytes.length,
      "Content-Type": "application/octet-stream",
    });
    if (request.method === "HEAD") return response.end();
    response.write(bytes.subarray(0, -100));
    await event;
    response.end(bytes.subarray(-100));
  };
  return {
    "/delayed/tiny.gguf": delayed(isCompiled),
    "/incomplete/tiny.gguf": delayed(new Promise(() => {})),
    "/compiled": (request, response) => (compiled(), response.writeHead(204).end()),
  };
}

describe("other models", () => {
  let harness;
  before(async () => {
    const routes = {
      ...cacheRoute(`models/${gemma.model.file}`),
      ...cacheRoute(NEMOTRON_H),
      ...derivedRoutes(["tiny-Q4_K-256.gguf", "SmolLM2-135M-Instruct-BF16"]),
      ...delayedRoutes(derived("tiny-Q4_K-256.gguf")),
      "/small-gpu/worker.js": scriptRoute(SMALL_GPU),
      "/reporting/worker.js": scriptRoute(REPORTING),
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

  // A tiny model, for many chats in little time.
  test("wasm heap and GPU bytes do not grow over 100 chats", async (t) => {
    const memory = await harness.run(async ({ TabLM }, onGpu) => {
      const model = await TabLM.load("/derived/tiny-Q4_K-256.gguf", onGpu);
      const seen = [];
      for (let index = 0; index <= 100; index += 1) {
        await window.ask(model, `Say ${index % 10}.`, 6);
        // The first chats may still allocate what later ones reuse.
        if (index > 0 && index % 20 === 0) seen.push(model.info.memory);
      }
      await model.dispose();
      return seen;
    }, onGpu);
    t.diagnostic(memoryText(memory[0]));
    for (const later of memory) assert.deepEqual(later, memory[0]);
  });

  test("auto chooses the faster device, reports why, and caches valid measurements", async (t) => {
    const found = await harness.run(async ({ TabLM }) => {
      const load = async () => {
        const model = await TabLM.load("/derived/tiny-Q4_K-256.gguf");
        await model.dispose();
        return model.info;
      };
      const infos = [await load(), await load()];
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle("tablm");
      const file = await folder.getFileHandle("tuning.json", { create: true });
      const writer = await file.createWritable();
      await writer.write('{"incomplete": [');
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
        Math.abs(all[1].cpuTokenMs / all[0].cpuTokenMs - 1) < 1e-9,
        "the second load has measurements of its own",
      );
    const byTokens = found.filter(({ device }) => device.predicted?.prompt === undefined);
    const noAdapter = { gpuTokenMs: Infinity, cpuTokenMs: 0 };
    for (const { device, fallbackReason } of byTokens) {
      const { gpuTokenMs, cpuTokenMs } = device.predicted ?? noAdapter;
      assert.deepEqual(
        [device.backend, fallbackReason !== undefined],
        gpuTokenMs <= cpuTokenMs ? ["webgpu", false] : ["cpu", true],
      );
    }
  });

  // The server holds the end of the file back until the browser has compiled a pipeline.
  test(
    "compiles pipelines during the download, and stops if the download is aborted",
    { skip: allowNoGpu && "there is no GPU" },
    async () => {
      const found = await harness.run(async ({ TabLM }) => {
        const options = { workerUrl: "/reporting/worker.js", device: "webgpu" };
        const model = await TabLM.load("/delayed/tiny.gguf", options);
        const answer = await window.ask(model, "Hi", 2);
        const { pipelines } = model.info;
        await model.dispose();
        const signal = AbortSignal.timeout(1000);
        const aborted = await TabLM.load("/incomplete/tiny.gguf", { ...options, signal }).catch(
          ({ code }) => code,
        );
        const models = await TabLM.models.list();
        const stored = models.filter(({ source }) => /(delayed|incomplete)/.test(source));
        return {
          tokens: answer.token_ids.length,
          pipelines,
          aborted,
          complete: stored.map(({ complete }) => complete),
        };
      });
      assert.ok(found.pipelines > 5 && found.tokens > 0, JSON.stringify(found));
      assert.deepEqual([found.aborted, found.complete], ["aborted", [true]]);
    },
  );

  test(
    "rejects a load on a GPU that is too small before it reads weights",
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
        /needs a buffer of 262144 bytes at .* 512, 200000 allowed .*; a context length of 256 fits/,
      );
      assert.ok(!results.phases.includes("upload"), `${results.phases}`);
      assert.deepEqual(
        [results.fits, results.misfit, results.shorter],
        [false, results.message, [true, null]],
      );
    },
  );

  test("answers with a folder of safetensors as with the GGUF file", async () => {
    const text = await harness.run(async ({ TabLM }) => {
      const model = await TabLM.load("/derived/SmolLM2-135M-Instruct-BF16", { device: "cpu" });
      const answer = await window.ask(model, "What is the capital of France?", 3);
      await model.dispose();
      return answer.choices[0].message.content;
    });
    assert.equal(text, "The capital of");
  });

  test("calls a tool after reasoning, and continues with its result", async () => {
    // With this template the model reasons and calls a tool.
    const template = readText("tests", "data", "text", "tool_chat.jinja").trimEnd();
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
        const completion = await model.chat.completions.create(request);
        const chunks = [];
        for await (const chunk of await model.chat.completions.create({ ...request, stream: true }))
          chunks.push(chunk.choices[0]);
        const refused = await model.chat.completions
          .create({ ...request, tools: [tool("")] })
          .catch((error) => [error.code, error.message]);
        await model.dispose();
        return {
          choice: completion.choices[0],
          chunks,
          refused,
          info: [model.info.thinking, model.info.tools],
        };
      },
      [MODEL, template],
    );
    assert.deepEqual(found.info, ["optional", true]);
    const { id } = found.choice.message.tool_calls[0];
    const call = { id, type: "function", function: { name: "time", arguments: '{"at":"Rome"}' } };
    const message = {
      role: "assistant",
      content: null,
      reasoning_content: "Rome",
      tool_calls: [call],
      refusal: null,
    };
    assert.deepEqual(found.choice, {
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

  // More than one chunk of prefill, then decode: both scan kernels, and T4 in matvec and matmul.
  test(
    "a Nemotron-H model quantized during the load gives the same answer on every device",
    { skip: allowNoGpu && "there is no GPU" },
    async () => {
      const [gpu, cpu, hybrid] = await harness.run(async ({ TabLM }, url) => {
        const answers = [];
        for (const device of ["webgpu", "cpu", "hybrid"]) {
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
      }, `/cache/${NEMOTRON_H}`);
      assert.ok(gpu.prompt > 64, `${gpu.prompt}`);
      assert.ok(gpu.ids.length > 1);
      for (const kernel of ["ssm_step", "ssm_scan", "matvec T4", "matmul T4"])
        assert.ok(
          gpu.kernels.some((name) => name.startsWith(kernel)),
          `${kernel} in ${gpu.kernels}`,
        );
      assert.deepEqual(gpu.ids, cpu.ids);
      assert.deepEqual([hybrid.ids, hybrid.backend], [cpu.ids, "hybrid"]);
    },
  );

  // A base model without a chat template, and the largest vocabulary.
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
    t.diagnostic(memoryText(memory));
    assert.deepEqual(answer.token_ids, gemma.prompts.capital.gen_ids.slice(0, 2));
    assert.equal(answer.choices[0].message.content.trim(), "Paris");
    if (!allowNoGpu)
      assert.ok(memory.wasmHeapBytes < MAX_WASM_HEAP_BYTES, `found ${memory.wasmHeapBytes} bytes`);
  });

  test("reports no console error", () => harness.expectQuiet());
});
