// Full-size models with random weights: their memory, load times and speeds, natively and in
// Chromium. The memory figures have targets; the speeds are for information.

import { basename } from "node:path";
import { fileRoute, openHarness } from "../web/support.mjs";
import { LONG_CONTEXT_LENGTH, makeModel, tablm } from "./commands.mjs";

/** Few tokens: a software adapter takes seconds for each. */
const GPU_TOKENS = { promptTokens: 64, generateTokens: 8 };
const CPU_TOKENS = { promptTokens: 16, generateTokens: 17 };
const CPU_RUNS = 5;
const WEB_TOKENS = 4;
/** Loads in Chromium; all but the first are from the origin's storage. */
const WEB_LOADS = 5;

/** Returns the relative error of an estimated number of bytes. */
const relativeError = (estimated, found) => Math.abs(estimated - found) / found;

/** Measures the command line on the GPU: estimated and actual bytes, and speeds. */
async function measureGpu(name, file, put) {
  const { tensors, memory: estimated } = await tablm(["inspect", file]);
  const options = { model: file, backend: "gpu", ...GPU_TOKENS, repeat: 1 };
  const { memory, timings } = await tablm(["bench"], options);
  const found = memory.peak_gpu_bytes;
  const weightBytes = tensors.reduce((sum, tensor) => sum + tensor.size_bytes, 0);
  const overhead = found / (weightBytes + memory.state_bytes);
  const error = relativeError(estimated.peak_gpu_bytes, found);
  put(`${name}.memory.gpu_bytes`, found, "bytes");
  put(`${name}.memory.snapshot_bytes`, memory.snapshot_bytes, "bytes");
  put(`${name}.memory.overhead_ratio`, overhead, "ratio");
  put(`${name}.memory.estimate_error`, error, "ratio");
  put(`${name}.load_ms`, timings.load_ms, "ms");
  put(`${name}.prefill`, timings.prefill_tokens_per_s, "tokens/s");
  put(`${name}.decode`, timings.decode_tokens_per_s, "tokens/s");
}

/** Measures decoding on all CPU cores, and its share of the memory bandwidth they can reach. */
async function measureCpu(name, file, put) {
  const options = { model: file, backend: "cpu", ...CPU_TOKENS, repeat: 1 };
  const found = { decode: [], read_gb_per_s: [], bandwidth_share: [] };
  for (let run = 0; run < CPU_RUNS; run += 1) {
    const { reading, timings } = await tablm(["bench"], options);
    const gbPerS = (reading.weight_bytes * timings.decode_tokens_per_s) / 1e9;
    put(`${name}.cpu.weight_bytes`, reading.weight_bytes, "bytes");
    found.decode.push(timings.decode_tokens_per_s);
    found.read_gb_per_s.push(reading.read_gb_per_s);
    found.bandwidth_share.push(gbPerS / reading.read_gb_per_s);
  }
  put(`${name}.cpu.decode`, found.decode, "tokens/s");
  put(`${name}.cpu.read_gb_per_s`, found.read_gb_per_s, "GB/s");
  put(`${name}.cpu.bandwidth_share`, found.bandwidth_share, "ratio");
}

/**
 * Runs in the page: downloads the model unless it is stored, loads it, and generates `maxTokens`
 * tokens unless that is 0.
 */
async function loadAndAnswer({ TabLM }, { url, device, contextLength, maxTokens }) {
  const estimate = await TabLM.estimate(url, { contextLength });
  const [estimated, misfit] =
    device === "cpu"
      ? [estimate.cpuMemory, estimate.cpuMisfit]
      : [estimate.memory, estimate.misfit];
  if (misfit) throw new Error(misfit);
  const start = performance.now();
  const uploads = [];
  const onProgress = ({ phase, loadedBytes }) => {
    if (phase === "upload") uploads.push({ bytes: loadedBytes, ms: performance.now() });
  };
  const model = await TabLM.load(url, { device, contextLength, onProgress });
  const [first, last] = [uploads[0], uploads.at(-1)];
  const loaded = {
    storeMs: first.ms - start,
    loadMs: performance.now() - first.ms,
    gbPerS: (last.bytes - first.bytes) / (last.ms - first.ms) / 1e6,
  };
  if (maxTokens === 0) {
    await model.dispose();
    return loaded;
  }
  const messages = [{ role: "user", content: "Hi" }];
  const { usage, timings } = await model.chat.completions.create({
    messages,
    temperature: 0,
    max_completion_tokens: maxTokens,
  });
  const { memory, step } = model.info;
  await model.dispose();
  return { ...loaded, estimated, memory, usage, timings, step };
}

/** Runs in the page: reads all files of the origin's storage into the operating system's cache. */
async function readStored() {
  async function readFolder(folder) {
    for await (const entry of folder.values()) {
      if (entry.kind === "directory") await readFolder(entry);
      else await (await entry.getFile()).stream().pipeTo(new WritableStream());
    }
  }
  await readFolder(await navigator.storage.getDirectory());
}

/** Loads the model and generates an answer `WEB_LOADS` times; runs `after` after each. */
async function answers(harness, request, after = async () => {}) {
  const runs = [];
  while (runs.length < WEB_LOADS) {
    const run = await harness.run(loadAndAnswer, { ...request, maxTokens: WEB_TOKENS });
    const found = run.usage.completion_tokens;
    if (found !== WEB_TOKENS) throw new Error(`found ${found} tokens, expected ${WEB_TOKENS}`);
    runs.push(run);
    await after();
  }
  return runs;
}

/**
 * Measures the package on WebGPU. The operating system may drop a file from its cache within a
 * minute, and a load would then measure the disk. So `load_gb_per_s` is measured by an extra load
 * with the file in the cache; `load_gb_per_s.after_answer` shows the loads without that.
 */
async function measureWebGpu(name, harness, url, put) {
  const request = { url, device: "webgpu", contextLength: LONG_CONTEXT_LENGTH };
  const cachedLoads = [];
  const runs = await answers(harness, request, async () => {
    await harness.run(readStored);
    cachedLoads.push(await harness.run(loadAndAnswer, { ...request, maxTokens: 0 }));
  });
  const [{ estimated, memory, storeMs }] = runs;
  const error = relativeError(estimated.peakGpuBytes, memory.peakGpuBytes);
  const putRuns = (key, value, unit) => put(key, runs.map(value), unit);
  const cachedGbPerS = cachedLoads.map(({ gbPerS }) => gbPerS);
  put(`${name}.wasm_heap_bytes`, memory.wasmHeapBytes, "bytes");
  put(`${name}.web.gpu_bytes`, memory.peakGpuBytes, "bytes");
  put(`${name}.web.estimate_error`, error, "ratio");
  put(`${name}.web.store_ms`, storeMs, "ms");
  putRuns(`${name}.web.load_ms`, (run) => run.loadMs, "ms");
  putRuns(`${name}.web.prefill`, (run) => run.timings.prefill_tokens_per_s, "tokens/s");
  putRuns(`${name}.web.decode`, (run) => run.timings.decode_tokens_per_s, "tokens/s");
  put("load_gb_per_s", cachedGbPerS, "GB/s");
  putRuns("load_gb_per_s.after_answer", (run) => run.gbPerS, "GB/s");
  putRuns(`${name}.web.encode_us`, (run) => run.step.encodeUs, "µs");
}

/** Measures the package on the CPU, with the weights in the wasm heap. */
async function measureWebCpu(name, harness, url, put) {
  const request = { url, device: "cpu", contextLength: LONG_CONTEXT_LENGTH };
  const runs = await answers(harness, request);
  const [{ estimated, memory }] = runs;
  const error = relativeError(estimated.peakCpuBytes, memory.peakCpuBytes);
  const putRuns = (key, value, unit) => put(key, runs.map(value), unit);
  put(`${name}.web.cpu.wasm_heap_bytes`, memory.wasmHeapBytes, "bytes");
  put(`${name}.web.cpu.weights_bytes`, memory.weightsBytes, "bytes");
  put(`${name}.web.cpu.state_bytes`, memory.stateBytes, "bytes");
  put(`${name}.web.cpu.estimate_error`, error, "ratio");
  putRuns(`${name}.web.cpu.load_ms`, (run) => run.loadMs, "ms");
  putRuns(`${name}.web.cpu.prefill`, (run) => run.timings.prefill_tokens_per_s, "tokens/s");
  putRuns(`${name}.web.cpu.decode`, (run) => run.timings.decode_tokens_per_s, "tokens/s");
}

/** Measures the package in Chromium, with the model in the origin's storage. */
async function measureWeb(name, file, put) {
  const url = `/full-size/${basename(file)}`;
  const harness = await openHarness({ routes: { [url]: fileRoute(file) } });
  try {
    await measureWebGpu(name, harness, url, put);
    await measureWebCpu(name, harness, url, put);
  } finally {
    await harness.close();
  }
}

/** Figures of a model, whose name precedes them in the keys. */
const NATIVE_FIGURES = [
  "memory.gpu_bytes",
  "memory.snapshot_bytes",
  "memory.overhead_ratio",
  "memory.estimate_error",
  "load_ms",
  "prefill",
  "decode",
  "cpu.weight_bytes",
  "cpu.decode",
  "cpu.read_gb_per_s",
  "cpu.bandwidth_share",
];
const WEB_FIGURES = [
  "wasm_heap_bytes",
  "web.gpu_bytes",
  "web.estimate_error",
  "web.store_ms",
  "web.load_ms",
  "web.prefill",
  "web.decode",
  "web.encode_us",
  "web.cpu.wasm_heap_bytes",
  "web.cpu.weights_bytes",
  "web.cpu.state_bytes",
  "web.cpu.estimate_error",
  "web.cpu.load_ms",
  "web.cpu.prefill",
  "web.cpu.decode",
];
/** Keys without the model's name that are measured in Chromium. */
const WEB_KEYS = ["load_gb_per_s", "load_gb_per_s.after_answer"];

/** Returns the part of the benchmark (see parts.mjs) of a model; it takes about `minutes`. */
export function fullSize(name, minutes, inBrowser) {
  const figures = [...NATIVE_FIGURES, ...(inBrowser ? WEB_FIGURES : [])];
  return {
    name,
    minutes,
    keys: [...figures.map((figure) => `${name}.${figure}`), ...(inBrowser ? WEB_KEYS : [])],
    async measure(put) {
      const file = await makeModel(name);
      await measureGpu(name, file, put);
      await measureCpu(name, file, put);
      if (inBrowser) await measureWeb(name, file, put);
    },
  };
}
