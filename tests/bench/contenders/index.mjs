// All contenders, in the table's order. `start` loads the model and resolves to
// `{ device, notes, run({ promptTokens, generateTokens }), close() }`; a run resolves to
// `{ prefillTokens, prefillMs, decodeTokens, decodeMs }` and, where known, `loadMs` and `step`.
// Prefill lasts until the first token is sampled; decode covers the tokens after the first.

import { llamacpp } from "./llamacpp.mjs";
import { native } from "./native.mjs";
import { ortWeb } from "./ort_web.mjs";
import { web } from "./web.mjs";
import { wllama } from "./wllama.mjs";

export const contenders = [
  { name: "native_gpu", title: "TabLM native, GPU", countsSteps: true, start: () => native("gpu") },
  {
    name: "llamacpp_vulkan",
    title: "llama.cpp native, Vulkan",
    start: () => llamacpp({ gpu: true, threads: 1 }),
  },
  { name: "native_cpu", title: "TabLM native, CPU, 1 thread", start: () => native("cpu", 1) },
  { name: "native_cpu2", title: "TabLM native, CPU, 2 threads", start: () => native("cpu", 2) },
  {
    name: "llamacpp_cpu",
    title: "llama.cpp native, CPU, 1 thread",
    start: () => llamacpp({ gpu: false, threads: 1 }),
  },
  {
    name: "llamacpp_cpu2",
    title: "llama.cpp native, CPU, 2 threads",
    start: () => llamacpp({ gpu: false, threads: 2 }),
  },
  { name: "web_gpu", title: "TabLM in Chromium, WebGPU", start: () => web("webgpu") },
  { name: "ort_web", title: "transformers.js in Chromium, WebGPU", start: () => ortWeb("webgpu") },
  { name: "web_cpu", title: "TabLM in Chromium, CPU, 1 thread", start: () => web("cpu") },
  { name: "web_cpu2", title: "TabLM in Chromium, CPU, 2 threads", start: () => web("cpu", 2) },
  {
    name: "ort_wasm",
    title: "transformers.js in Chromium, CPU, 1 thread",
    start: () => ortWeb("wasm"),
  },
  { name: "wllama_cpu", title: "wllama in Chromium, CPU, 1 thread", start: () => wllama() },
];
