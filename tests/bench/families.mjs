// Families of models in their published sizes, with random weights: dispatches and weight bytes of
// the whole model from its plan, and speeds of four of its layers on the GPU and on one CPU thread,
// for some families beside llama.cpp on the same file.

import { llamacpp } from "./contenders/llamacpp.mjs";
import { makeHeader, makeModel, tablm } from "./commands.mjs";

/**
 * Models by family, as make_full_size.py names them, and four layers with every kind of layer and
 * format in about the model's proportions.
 */
const FAMILIES = {
  llama: { model: "llama3.2_1b", layers: "3,4,5,6" },
  minicpm5: { model: "minicpm5_1b", layers: "3,4,5,6" },
  qwen3: { model: "qwen3_1.7b", layers: "3,4,5,6", peer: true },
  smollm3: { model: "smollm3_3b", layers: "4,5,6,7" },
  phi3: { model: "phi4_mini", layers: "4,5,6,7" },
  mistral3: { model: "ministral3_3b", layers: "3,4,5,6" },
  olmo2: { model: "olmo2_1b", layers: "3,4,5,6" },
  granite: { model: "granite4_micro", layers: "5,6,7,8" },
  granite_h: { model: "granite4_h_micro", layers: "5,6,7,8", peer: true },
  lfm2: { model: "lfm2_1.2b", layers: "4,5,6,7", peer: true },
  lfm3: { model: "lfm3_1.7b", layers: "3,4,5,6" },
  gemma3: { model: "gemma3_270m", layers: "3,4,5,6" },
  nemotron_h: { model: "nemotron4b", layers: "0,1,2,32" },
};
/** A small vocabulary, because the output layer would dominate four layers otherwise. */
const VOCABULARY = 1024;
const CPU_TOKENS = { promptTokens: 512, generateTokens: 64 };
/** Few tokens: a software adapter takes long for each. */
const GPU_TOKENS = { promptTokens: 128, generateTokens: 17 };
const CPU_RUNS = 5;
const GPU_RUNS = 3;

/** Token ids of a prompt; they do not matter. */
const PROMPT = Array.from({ length: CPU_TOKENS.promptTokens }, (_, i) => (i * 7919) % VOCABULARY);

/** Speeds of one run of the command line, of the prompt up to the first token and after it. */
async function run(model, backend, tokens) {
  const threads = backend === "cpu" ? { threads: 1 } : {};
  const options = { model, backend, context: 1024, ...tokens, ...threads, repeat: 1 };
  const { timings } = await tablm(["bench"], options);
  return {
    prefill: (tokens.promptTokens * 1000) / timings.first_token_ms,
    decode: ((tokens.generateTokens - 1) * 1000) / timings.decode_ms,
  };
}

/** Speeds of one run of llama.cpp. */
async function runPeer(session) {
  const found = await session.run(CPU_TOKENS);
  return {
    prefill: (found.prefillTokens * 1000) / found.prefillMs,
    decode: (found.decodeTokens * 1000) / found.decodeMs,
  };
}

/** Measures one thread of the CPU, taking turns with llama.cpp where `peer` is set. */
async function measureCpu(key, model, peer, put) {
  const session = peer
    ? await llamacpp({ gpu: false, threads: 1, modelPath: model, prompt: PROMPT })
    : undefined;
  const [ours, ratios] = [[], []];
  try {
    for (let round = 0; round < CPU_RUNS; round += 1) {
      const own = await run(model, "cpu", CPU_TOKENS);
      ours.push(own);
      if (!session) continue;
      const theirs = await runPeer(session);
      ratios.push({ prefill: own.prefill / theirs.prefill, decode: own.decode / theirs.decode });
    }
  } finally {
    await session?.close();
  }
  for (const measure of ["prefill", "decode"]) {
    const values = (list) => list.map((each) => each[measure]);
    put(`${key}.cpu.${measure}`, values(ours), "tokens/s");
    if (session) put(`${key}.vs_llamacpp.${measure}`, values(ratios), "ratio");
  }
}

async function measureGpu(key, model, put) {
  const runs = [];
  while (runs.length < GPU_RUNS) runs.push(await run(model, "gpu", GPU_TOKENS));
  for (const measure of ["prefill", "decode"])
    put(
      `${key}.webgpu.${measure}`,
      runs.map((each) => each[measure]),
      "tokens/s",
    );
}

/** Measures a family, one of `FAMILIES`. */
async function measureFamily(family, put) {
  const { model, layers, peer } = FAMILIES[family];
  const key = `families.${family}`;
  const { step } = await tablm(["inspect", await makeHeader(model)]);
  put(`${key}.dispatches`, step.dispatches, "dispatches");
  put(`${key}.weight_bytes`, step.weight_bytes, "bytes");
  const cut = await makeModel(model, "--layers", layers, "--vocabulary", VOCABULARY);
  await measureCpu(key, cut, peer, put);
  await measureGpu(key, cut, put);
}

/** The part of the benchmark (see parts.mjs). */
export const families = {
  name: "families",
  minutes: 12,
  keys: ["families."],
  async measure(put) {
    for (const family of Object.keys(FAMILIES)) await measureFamily(family, put);
  },
};
