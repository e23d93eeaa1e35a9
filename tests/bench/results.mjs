// The benchmark's figures: their keys, medians and ranges, ratios between contenders, and the file
// target/bench.json.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";

// In the repository, even if CARGO_TARGET_DIR is elsewhere.
const FILE = "target/bench.json";

/** Ratios to report: `ours` over `theirs`. */
export const ratios = [
  { key: "vs_llamacpp_vulkan", ours: "native_gpu", theirs: "llamacpp_vulkan" },
  { key: "cpu_native.vs_llamacpp", ours: "native_cpu", theirs: "llamacpp_cpu" },
  { key: "vs_ort_web", ours: "web_gpu", theirs: "ort_web" },
  // wllama runs on the CPU: compared with TabLM on the GPU, which may be a software adapter, and
  // with TabLM on the CPU.
  { key: "vs_wllama_cpu", ours: "web_gpu", theirs: "wllama_cpu" },
  { key: "cpu_wasm.vs_wllama", ours: "web_cpu", theirs: "wllama_cpu" },
  { key: "cpu_wasm.vs_ort_wasm", ours: "web_cpu", theirs: "ort_wasm" },
  { key: "cpu_native.two_threads", ours: "native_cpu2", theirs: "native_cpu" },
  { key: "cpu_wasm.two_threads", ours: "web_cpu2", theirs: "web_cpu" },
];

export const MEASURES = ["prefill", "decode"];

/** Counters of the GPU executor for one decoding step, with their units. */
const STEP_UNITS = {
  dispatches: "dispatches",
  submits: "submits",
  bind_groups_created: "bind groups",
  write_buffer_bytes: "bytes",
  readback_bytes: "bytes",
  weight_bytes: "bytes",
};

/** Returns the keys of a contender's figures. */
export function keysOf({ name, countsSteps }) {
  const own = [...MEASURES, "prefill_tokens", "decode_tokens", "own_cores", "others_cores"].map(
    (measure) => `${name}.${measure}`,
  );
  const steps = countsSteps ? Object.keys(STEP_UNITS).map((counter) => `step.${counter}`) : [];
  return [...own, `load.${name}`, ...steps];
}

/** True if a contender is needed for a key with this prefix. */
export function contenderWanted(contender, prefix) {
  const inRatio = ratios.filter(({ ours, theirs }) => [ours, theirs].includes(contender.name));
  const keys = [
    ...keysOf(contender),
    ...inRatio.flatMap(({ key }) => MEASURES.map((measure) => `${key}.${measure}`)),
  ];
  return keys.some((key) => key.startsWith(prefix));
}

/** Returns the median, minimum and maximum of values. */
export function summarize(values, unit) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median =
    sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted.at(-1), runs: sorted.length, unit };
}

/** Replaces a contender's figures in the results by those of its runs, and updates the ratios. */
export function record(results, { runs, loadMs, ...contender }) {
  for (const key of keysOf(contender)) delete results[key];
  const put = (key, value, unit) => {
    const known = runs.map(value).filter((each) => Number.isFinite(each));
    if (known.length > 0) results[key] = summarize(known, unit);
  };
  const { name } = contender;
  for (const measure of MEASURES) put(`${name}.${measure}`, (run) => run[measure], "tokens/s");
  put(`${name}.prefill_tokens`, (run) => run.prefillTokens, "tokens");
  put(`${name}.decode_tokens`, (run) => run.decodeTokens, "tokens");
  put(`${name}.own_cores`, (run) => run.load?.own, "cores");
  put(`${name}.others_cores`, (run) => run.load?.others, "cores");
  put(`load.${name}`, (run) => run.loadMs, "ms");
  if (contender.countsSteps) {
    for (const [counter, unit] of Object.entries(STEP_UNITS))
      put(`step.${counter}`, (run) => run.step?.[counter], unit);
  }
  recordRatios(results);
}

/** Updates the ratios; minimum and maximum are of the worst and the best pairing of runs. */
function recordRatios(results) {
  for (const { key, ours, theirs } of ratios) {
    for (const measure of MEASURES) {
      const [a, b] = [results[`${ours}.${measure}`], results[`${theirs}.${measure}`]];
      delete results[`${key}.${measure}`];
      if (!a || !b) continue;
      results[`${key}.${measure}`] = {
        median: a.median / b.median,
        min: a.min / b.max,
        max: a.max / b.min,
        runs: Math.min(a.runs, b.runs),
        unit: "ratio",
      };
    }
  }
}

/** Reads the results of an earlier run; empty if there are none. */
export function readResults(file = FILE) {
  let text;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return {};
    throw error;
  }
  const results = JSON.parse(text);
  if (results === null || typeof results !== "object" || Array.isArray(results)) {
    throw new Error(`${file}: found ${text.slice(0, 20)}, expected one object`);
  }
  return results;
}

/** Writes target/bench.json atomically. */
export function writeResults(results, file = FILE) {
  const sorted = Object.fromEntries(Object.entries(results).sort(([a], [b]) => (a < b ? -1 : 1)));
  mkdirSync("target", { recursive: true });
  writeFileSync(`${file}.new`, `${JSON.stringify(sorted, null, 2)}\n`);
  renameSync(`${file}.new`, file);
}
