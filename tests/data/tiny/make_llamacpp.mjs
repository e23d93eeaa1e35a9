// Adds llama.cpp's greedy ids for the GGUF twins to reference/*.json, or the reason for having
// none. Usage: `node make_llamacpp.mjs [FAMILY…]` after make_reference.py and `npm ci --prefix
// tests/bench`.
//
// llama.cpp is the build of node-llama-cpp, on the CPU, with keys and values in F32. Each model
// runs in a separate process, because llama.cpp ends the process on a shape it does not support.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const MODELS = join(
  process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm"),
  "derived",
  "tiny",
);
const REFERENCE = join(import.meta.dirname, "reference");
// Must agree with specs.py.
const PROMPT = 65;
const TOKENS = 16;

async function greedy(name, vocabSize) {
  const { getLlama } = await import("../../bench/node_modules/node-llama-cpp/dist/index.js");
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    maxThreads: 1,
    logLevel: "error",
  });
  const model = await llama.loadModel({ modelPath: join(MODELS, `${name}.gguf`) });
  const context = await model.createContext({
    contextSize: 600,
    batchSize: 512,
    sequences: 1,
    flashAttention: false,
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
  });
  const prompt = Array.from({ length: PROMPT }, (_, i) => (31 * i * i + 17 * i + 5) % vocabSize);
  const ids = [];
  for await (const id of context
    .getSequence()
    .evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    ids.push(id);
    if (ids.length === TOKENS) break;
  }
  return { release: llama.llamaCppRelease.release, ids };
}

/**
 * Runs a model in another process of this script and returns its ids, or the reason for failing.
 */
function greedyInProcess(name, vocabSize) {
  const child = spawnSync(
    process.execPath,
    [import.meta.filename, "--model", name, String(vocabSize)],
    { encoding: "utf8" },
  );
  const answer = child.stdout.match(/^answer: (.*)$/m);
  if (answer) return JSON.parse(answer[1]);
  const reason = `${child.stderr}\n${child.stdout}`
    .split("\n")
    .find((line) => /assert|error|failed/i.test(line));
  return {
    refused: (reason ?? `ended with ${child.signal ?? child.status}`)
      .replace(/\S*\/(?=[\w.-]+\.\w+:\d+)/g, "")
      .trim(),
  };
}

if (process.argv[2] === "--model") {
  console.log(`answer: ${JSON.stringify(await greedy(process.argv[3], Number(process.argv[4])))}`);
  process.exit(0);
}
const present = readdirSync(REFERENCE).filter((file) => file.endsWith(".json"));
const wanted = process.argv.slice(2).map((family) => `${family}.json`);
for (const file of present.filter((file) => wanted.length === 0 || wanted.includes(file))) {
  const path = join(REFERENCE, file);
  const entries = JSON.parse(readFileSync(path, "utf8"));
  for (const entry of entries.filter((entry) => entry.twin === null && !entry.no_llamacpp)) {
    entry.llamacpp = greedyInProcess(entry.name, entry.vocab_size);
    const same = JSON.stringify(entry.llamacpp.ids) === JSON.stringify(entry.greedy);
    console.log(
      entry.name.padEnd(28),
      same ? "same ids as transformers" : JSON.stringify(entry.llamacpp),
    );
  }
  writeFileSync(path, `[\n${entries.map((entry) => JSON.stringify(entry)).join(",\n")}\n]\n`);
}
