// The figures: their names, their spread, the ratios between contenders, target/bench.json.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";

// Always in the repository, wherever cargo builds.
const FILE = "target/bench.json";

/** Which of ours stands against which peer. */
export const ratios = [
  { key: "vs_llamacpp_vulkan", ours: "native_gpu", theirs: "llamacpp_vulkan" },
  { key: "cpu_native.vs_llamacpp", ours: "native_cpu", theirs: "llamacpp_cpu" },
  { key: "vs_ort_web", ours: "web_gpu", theirs: "ort_web" },
  // Their path for CPUs against ours for GPUs on a software adapter, and against ours for CPUs.
  { key: "vs_wllama_cpu", ours: "web_gpu", theirs: "wllama_cpu" },
  { key: "cpu_wasm.vs_wllama", ours: "web_cpu", theirs: "wllama_cpu" },
  { key: "cpu_wasm.vs_ort_wasm", ours: "web_cpu", theirs: "ort_wasm" },
  { key: "cpu_native.two_threads", ours: "native_cpu2", theirs: "native_cpu" },
  { key: "cpu_wasm.two_threads", ours: "web_cpu2", theirs: "web_cpu" },
];

export const MEASURES = ["prefill", "decode"];

/** What one decoding step costs, as the GPU executor counts it. */
const STEP_UNITS = {
  dispatches: "dispatches",
  submits: "submits",
  bind_groups_created: "bind groups",
  write_buffer_bytes: "bytes",
  readback_bytes: "bytes",
  weight_bytes: "bytes",
};

/** The keys that a contender's runs give. */
export function keysOf({ name, countsSteps }) {
  const own = [...MEASURES, "prefill_tokens", "decode_tokens", "own_cores", "others_cores"].map(
    (measure) => `${name}.${measure}`,
  );
  const steps = countsSteps ? Object.keys(STEP_UNITS).map((part) => `step.${part}`) : [];
  return [...own, `load.${name}`, ...steps];
}

/** Whether a contender is needed for the keys that begin with `prefix`. */
export function wanted(contender, prefix) {
  const inRatio = ratios.filter(({ ours, theirs }) => [ours, theirs].includes(contender.name));
  const keys = [
    ...keysOf(contender),
    ...inRatio.flatMap(({ key }) => MEASURES.map((measure) => `${key}.${measure}`)),
  ];
  return keys.some((key) => key.startsWith(prefix));
}

/** Median, least and greatest of some values. */
export function spread(values, unit) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median =
    sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted.at(-1), runs: sorted.length, unit };
}

/** Puts a contender's runs into the results in place of what they held of it; then the ratios. */
export function record(results, { runs, loadMs, ...contender }) {
  for (const key of keysOf(contender)) delete results[key];
  const put = (key, values, unit) => {
    const known = values.filter((value) => Number.isFinite(value));
    if (known.length > 0) results[key] = spread(known, unit);
  };
  const of = (field) => runs.map((run) => run[field]);
  for (const measure of MEASURES) put(`${contender.name}.${measure}`, of(measure), "tokens/s");
  put(`${contender.name}.prefill_tokens`, of("prefillTokens"), "tokens");
  put(`${contender.name}.decode_tokens`, of("decodeTokens"), "tokens");
  put(
    `${contender.name}.own_cores`,
    runs.map((run) => run.load?.own),
    "cores",
  );
  put(
    `${contender.name}.others_cores`,
    runs.map((run) => run.load?.others),
    "cores",
  );
  put(`load.${contender.name}`, of("loadMs"), "ms");
  if (contender.countsSteps) {
    for (const [part, unit] of Object.entries(STEP_UNITS))
      put(
        `step.${part}`,
        runs.map((run) => run.step?.[part]),
        unit,
      );
  }
  recordRatios(results);
}

/** Ours over theirs; the ends of the spread are the worst and the best pairing of the runs. */
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

/** What an earlier run left; nothing if there is none. */
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

/** Writes target/bench.json, whole or not at all. */
export function writeResults(results, file = FILE) {
  const sorted = Object.fromEntries(Object.entries(results).sort(([a], [b]) => (a < b ? -1 : 1)));
  mkdirSync("target", { recursive: true });
  writeFileSync(`${file}.new`, `${JSON.stringify(sorted, null, 2)}\n`);
  renameSync(`${file}.new`, file);
}
