// Models besides the default one in Chromium: fit, tuning, early compilation, tools, hybrids.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { MODEL } from "./golden.mjs";
import {
  allowNoGpu,
  cacheRoute,
  derived,
  derivedRoutes,
  openHarness,
  readJson,
  readText,
} from "./support.mjs";

/** The GPU, where there is one: `auto` may choose the CPU over a software adapter. */
const onGpu = { device: allowNoGpu ? "cpu" : "webgpu" };
const WASM_HEAP_LIMIT_BYTES = 64 * 2 ** 20;
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const HYBRID = "derived/tiny/nemotron_h-g2x3.gguf";
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

/** A worker script that tells the server when the browser has compiled a pipeline. */
const TELLING = `
  const { createComputePipelineAsync } = GPUDevice.prototype;
  GPUDevice.prototype.createComputePipelineAsync = async function (descriptor) {
    const pipeline = await createComputePipelineAsync.call(this, descriptor);
    await fetch("/compiled");
    return pipeline;
  };
  import "/tablm/worker.js";
`;

/** Routes to a file whose last bytes follow once a pipeline is compiled, or never. */
function lateRoutes(path) {
  // Longer than the first read of a header.
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
    t.diagnostic(
      `wasm heap ${mebibytes(memory[0].wasmHeapBytes)}, GPU ${mebibytes(memory[0].peakGpuBytes)}`,
    );
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
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("tablm");
      const writer = await (
        await folder.getFileHandle("tuning.json", { create: true })
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
        Math.abs(all[1].cpuTokenMs / all[0].cpuTokenMs - 1) < 1e-9,
        "the second is the first",
      );
    // Where prompts were measured too, both times decide.
    for (const { device, fallbackReason } of found.filter(
      ({ device }) => device.predicted?.prompt === undefined,
    )) {
      const { gpuTokenMs: gpu, cpuTokenMs: cpu } = device.predicted ?? {
        gpuTokenMs: Infinity,
        cpuTokenMs: 0,
      };
      assert.deepEqual(
        [device.backend, fallbackReason !== undefined],
        gpu <= cpu ? ["webgpu", false] : ["cpu", true],
      );
    }
  });

  // The server holds the end of the file back until the browser has compiled a pipeline.
  test(
    "compiles during the download, and stops when that is aborted",
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
        /needs a buffer of 262144 bytes at .* 512, 200000 allowed .*; a context length of 256 fits/,
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

  test("calls a tool after reasoning, and continues with its result", async () => {
    // A template after whose prompt the model reasons and calls a tool.
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

  // More than one chunk of prefill, then decode: both scan kernels, and T4 in both products.
  test(
    "a hybrid model quantized during the load gives the same answer on every device",
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
      }, `/cache/${HYBRID}`);
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
    t.diagnostic(
      `wasm heap ${mebibytes(memory.wasmHeapBytes)}, GPU ${mebibytes(memory.peakGpuBytes)}`,
    );
    assert.deepEqual(answer.token_ids, gemma.prompts.capital.gen_ids.slice(0, 2));
    assert.equal(answer.choices[0].message.content.trim(), "Paris");
    if (!allowNoGpu)
      assert.ok(
        memory.wasmHeapBytes < WASM_HEAP_LIMIT_BYTES,
        `found ${memory.wasmHeapBytes} bytes`,
      );
  });

  test("the page reported no error", () => harness.expectQuiet());
});
