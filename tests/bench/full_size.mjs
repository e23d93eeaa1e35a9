// Full-size models with random weights: their memory, load times and speeds, natively and in
// Chromium. The memory figures have targets; the speeds are for information.

import { execFile } from "node:child_process";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { fileRoute, openHarness } from "../web/support.mjs";
import { nativeBinary, root } from "./model.mjs";

const PYTHON = join(
  process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm"),
  "python",
  "bin",
  "python",
);
const CONTEXT_LENGTH = 4096;
/** Few tokens: a software adapter takes seconds for each. */
const NATIVE = { promptTokens: 64, generateTokens: 8 };
const CPU = { promptTokens: 16, generateTokens: 17, runs: 5 };
const WEB_TOKENS = 4;
/** Loads in Chromium; all but the first are from the origin's storage. */
const WEB_LOADS = 5;

async function run(program, parameters) {
  const { stdout } = await promisify(execFile)(program, parameters.map(String), {
    cwd: root,
    maxBuffer: 1 << 28,
  });
  return stdout;
}

/** Runs the command line with `--json` and returns its report. */
export async function tablm(...parameters) {
  return JSON.parse(
    await run(nativeBinary, [...parameters, "--context", CONTEXT_LENGTH, "--json"]),
  );
}

/** Runs a script that makes a model's file, and returns the path it prints. */
export async function python(script, ...options) {
  return (await run(PYTHON, [script, ...options])).trim();
}

/** Makes a model's file, or with options a part of it, and returns its path. */
export const makeModel = (name, ...options) =>
  python("tests/data/make_full_size.py", name, ...options);

/** Makes a model's header, without its weights, and returns its path. */
export const makeHeader = (name) => makeModel(name, "--header");

/** Returns the relative error of an estimate: `key` is in snake case on the command line, in camel
 * case in JavaScript. */
function relativeError(promised, found, key) {
  return Math.abs(promised[key] - found[key]) / found[key];
}

/** Measures the command line on the GPU: estimated and actual bytes, and speeds. */
async function native(name, file, put) {
  const { tensors, memory: promised } = await tablm("inspect", file);
  const counts = [
    "--prompt-tokens",
    NATIVE.promptTokens,
    "--generate-tokens",
    NATIVE.generateTokens,
    "--repeat",
    1,
  ];
  const { memory, timings } = await tablm("bench", "--model", file, "--backend", "gpu", ...counts);
  const weights = tensors.reduce((sum, tensor) => sum + tensor.size_bytes, 0);
  put(`${name}.memory.gpu_bytes`, memory.peak_gpu_bytes, "bytes");
  put(
    `${name}.memory.overhead_ratio`,
    memory.peak_gpu_bytes / (weights + memory.state_bytes),
    "ratio",
  );
  put(`${name}.memory.estimate_error`, relativeError(promised, memory, "peak_gpu_bytes"), "ratio");
  put(`${name}.load_ms`, timings.load_ms, "ms");
  put(`${name}.prefill`, timings.prefill_tokens_per_s, "tokens/s");
  put(`${name}.decode`, timings.decode_tokens_per_s, "tokens/s");
}

/** Measures decoding on all CPU cores, and its share of the memory bandwidth they can reach. */
async function cpu(name, file, put) {
  const found = { decode: [], read_gb_per_s: [], bandwidth_share: [] };
  const counts = [
    "--prompt-tokens",
    CPU.promptTokens,
    "--generate-tokens",
    CPU.generateTokens,
    "--repeat",
    1,
  ];
  for (let run = 0; run < CPU.runs; run += 1) {
    const { reading, timings } = await tablm(
      "bench",
      "--model",
      file,
      "--backend",
      "cpu",
      ...counts,
    );
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
async function answer({ TabLM }, { url, device, contextLength, maxTokens }) {
  const estimate = await TabLM.estimate(url, { contextLength });
  const [promised, misfit] =
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
  return { ...loaded, promised, memory, usage, timings, step };
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

/** Loads the model and generates an answer `count` times; runs `after` after each. */
async function answers(harness, count, request, after = async () => {}) {
  const runs = [];
  while (runs.length < count) {
    runs.push(
      await harness.run(answer, {
        contextLength: CONTEXT_LENGTH,
        maxTokens: WEB_TOKENS,
        ...request,
      }),
    );
    const found = runs.at(-1).usage.completion_tokens;
    if (found !== WEB_TOKENS) throw new Error(`found ${found} tokens, expected ${WEB_TOKENS}`);
    await after();
  }
  const [first] = runs;
  return { first, each: (value) => runs.map(value) };
}

/**
 * Measures the package on WebGPU. The operating system may drop a file from its cache within a
 * minute, and a load would then measure the disk. So `load_gb_per_s` is measured by an extra load
 * with the file in the cache; `load_gb_per_s.after_answer` shows the loads without that.
 */
async function webGpu(name, harness, url, put) {
  const request = { url, device: "webgpu" };
  const read = [];
  const { first, each } = await answers(harness, WEB_LOADS, request, async () => {
    await harness.run(readStored);
    read.push(
      await harness.run(answer, { contextLength: CONTEXT_LENGTH, maxTokens: 0, ...request }),
    );
  });
  put(`${name}.wasm_heap_bytes`, first.memory.wasmHeapBytes, "bytes");
  put(`${name}.web.gpu_bytes`, first.memory.peakGpuBytes, "bytes");
  put(
    `${name}.web.estimate_error`,
    relativeError(first.promised, first.memory, "peakGpuBytes"),
    "ratio",
  );
  put(`${name}.web.store_ms`, first.storeMs, "ms");
  put(
    `${name}.web.load_ms`,
    each(({ loadMs }) => loadMs),
    "ms",
  );
  put(
    `${name}.web.prefill`,
    each(({ timings }) => timings.prefill_tokens_per_s),
    "tokens/s",
  );
  put(
    `${name}.web.decode`,
    each(({ timings }) => timings.decode_tokens_per_s),
    "tokens/s",
  );
  put(
    "load_gb_per_s",
    read.map(({ gbPerS }) => gbPerS),
    "GB/s",
  );
  put(
    "load_gb_per_s.after_answer",
    each(({ gbPerS }) => gbPerS),
    "GB/s",
  );
  put(
    `${name}.web.encode_us`,
    each(({ step }) => step.encodeUs),
    "µs",
  );
}

/** Measures the package on the CPU, with the weights in the wasm heap. */
async function webCpu(name, harness, url, put) {
  const { first, each } = await answers(harness, WEB_LOADS, { url, device: "cpu" });
  put(`${name}.web.cpu.wasm_heap_bytes`, first.memory.wasmHeapBytes, "bytes");
  put(`${name}.web.cpu.weights_bytes`, first.memory.weightsBytes, "bytes");
  put(`${name}.web.cpu.state_bytes`, first.memory.stateBytes, "bytes");
  put(
    `${name}.web.cpu.estimate_error`,
    relativeError(first.promised, first.memory, "peakCpuBytes"),
    "ratio",
  );
  put(
    `${name}.web.cpu.load_ms`,
    each(({ loadMs }) => loadMs),
    "ms",
  );
  put(
    `${name}.web.cpu.prefill`,
    each(({ timings }) => timings.prefill_tokens_per_s),
    "tokens/s",
  );
  put(
    `${name}.web.cpu.decode`,
    each(({ timings }) => timings.decode_tokens_per_s),
    "tokens/s",
  );
}

/** Measures the package in Chromium, with the model in the origin's storage. */
async function web(name, file, put) {
  const url = `/full-size/${basename(file)}`;
  const harness = await openHarness({ routes: { [url]: fileRoute(file) } });
  try {
    await webGpu(name, harness, url, put);
    await webCpu(name, harness, url, put);
  } finally {
    await harness.close();
  }
}

const figures = [
  "memory.gpu_bytes",
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
const webFigures = [
  "wasm_heap_bytes",
  "web.gpu_bytes",
  "web.estimate_error",
  "web.store_ms",
  "web.load_ms",
  "web.prefill",
  "web.decode",
  "web.encode_us",
];
const cpuFigures = [
  "wasm_heap_bytes",
  "weights_bytes",
  "state_bytes",
  "estimate_error",
  "load_ms",
  "prefill",
  "decode",
];
webFigures.push(...cpuFigures.map((figure) => `web.cpu.${figure}`));
/** Keys without the model's name that are measured in Chromium. */
const WEB_KEYS = ["load_gb_per_s", "load_gb_per_s.after_answer"];

/**
 * Returns a part of the benchmark (see parts.mjs) for a model; `minutes` is about how long it
 * takes.
 */
export function fullSize(name, minutes, inBrowser) {
  return {
    name,
    minutes,
    keys: [
      ...[...figures, ...(inBrowser ? webFigures : [])].map((figure) => `${name}.${figure}`),
      ...(inBrowser ? WEB_KEYS : []),
    ],
    async measure(put) {
      const file = await makeModel(name);
      await native(name, file, put);
      await cpu(name, file, put);
      if (inBrowser) await web(name, file, put);
    },
  };
}
