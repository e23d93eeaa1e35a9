// The process that runs llama.cpp: loads the model, reports the device, then answers each message
// `{ ids, generateTokens }` with the times of a run.

import { getLlama } from "node-llama-cpp";
import { CONTEXT_LENGTH } from "../model.mjs";

async function open({ gpu, threads, modelPath }) {
  const start = performance.now();
  const llama = await getLlama({
    gpu: gpu ? "vulkan" : false,
    build: "never",
    skipDownload: true,
    maxThreads: threads,
    vramPadding: 0,
    logLevel: "error",
  });
  const model = await llama.loadModel({ modelPath, gpuLayers: gpu ? "max" : 0 });
  const context = await model.createContext({
    contextSize: CONTEXT_LENGTH,
    batchSize: 512,
    threads,
    sequences: 1,
  });
  const names = await llama.getGpuDeviceNames();
  // llama.cpp falls back to the CPU without an error.
  if (gpu && (llama.gpu !== "vulkan" || names.length === 0 || model.gpuLayers === 0)) {
    throw new Error(
      `llama.cpp: device: found ${llama.gpu || "the CPU"} with ${model.gpuLayers} layers, ` +
        "expected a Vulkan adapter",
    );
  }
  const loadMs = performance.now() - start;
  const device = gpu ? names.join(", ") : `CPU, ${threads} ${threads === 1 ? "thread" : "threads"}`;
  return { context, opened: { device, release: llama.llamaCppRelease.release, loadMs } };
}

async function run(context, { ids, generateTokens }) {
  const sequence = context.getSequence();
  const times = [];
  const start = performance.now();
  try {
    for await (const _ of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
      times.push(performance.now());
      if (times.length >= generateTokens) break;
    }
  } finally {
    sequence.dispose();
  }
  if (times.length < 2)
    throw new Error(`llama.cpp: found ${times.length} tokens, expected ${generateTokens}`);
  return {
    prefillTokens: ids.length,
    prefillMs: times[0] - start,
    decodeTokens: times.length - 1,
    decodeMs: times.at(-1) - times[0],
  };
}

/** Sends the result of a job, or its error, to the parent process. */
async function send(job) {
  try {
    process.send(await job());
  } catch (error) {
    process.send({ error: error.message });
  }
}

let context;
await send(async () => {
  const ready = await open(JSON.parse(process.argv[2]));
  context = ready.context;
  return ready.opened;
});
// Ends with the parent process.
process.on("disconnect", () => process.exit());
process.on("message", (request) => send(() => run(context, request)));
