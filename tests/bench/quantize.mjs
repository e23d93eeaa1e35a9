// The loss from quantization to 4.5 bits per weight: perplexity of SmolLM2 in T4, and in Q4_0 as
// quantized by the Python package gguf, against the f32 weights that both were made from. Every
// matrix is quantized in both, including the embedding, which is also the output layer.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { python, tablm } from "./commands.mjs";
import { CACHE, root } from "./model.mjs";

const DERIVED = join(CACHE, "derived", "1");
const SOURCE = join(DERIVED, "SmolLM2-135M-Instruct-F32");
/** Alice's Adventures in Wonderland, of which the first bytes are 20,574 tokens. */
const TEXT = join(CACHE, "texts", "alice29.txt");
const TEXT_BYTES = 75_000;
const MIN_TOKENS = 20_000;
const CONTEXT_LENGTH = 512;

const RUNS = [
  { name: "f32", model: SOURCE },
  { name: "t4", model: SOURCE, quantize: "T4" },
  { name: "q4_0", model: join(DERIVED, "SmolLM2-135M-Instruct.Q4_0.gguf") },
  { name: "q8_0", model: SOURCE, quantize: "Q8_0" },
];

/**
 * Returns the mean negative log-likelihood per token. Exact arithmetic makes it the loss from
 * rounding the weights, without that of the inputs, and the same on every machine.
 */
async function meanNll({ name, ...source }, text) {
  const options = { ...source, text, context: CONTEXT_LENGTH, backend: "cpu" };
  const { nll, tokens } = await tablm(["perplexity"], options, { TABLM_STRATEGY: "exact" });
  if (tokens < MIN_TOKENS)
    throw new Error(`${name}: tokens: found ${tokens}, expected at least ${MIN_TOKENS}`);
  return nll;
}

/** Measures all runs, two at a time. */
async function measureAll(text) {
  const found = {};
  const waiting = [...RUNS];
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift())
      found[next.name] = await meanNll(next, text);
  };
  await Promise.all([work(), work()]);
  return found;
}

/** The part of the benchmark (see parts.mjs). */
export const quantize = {
  name: "quantize",
  minutes: 9,
  keys: [
    ...RUNS.map(({ name }) => `quantize.smollm2.${name}.perplexity`),
    ...RUNS.slice(1).map(({ name }) => `quantize.smollm2.${name}.rise`),
    "quantize.smollm2.loss_vs_q4_0",
  ],
  async measure(put) {
    await python("tests/data/make_models.py");
    const text = join(root, "target", "perplexity.txt");
    mkdirSync(join(root, "target"), { recursive: true });
    writeFileSync(text, readFileSync(TEXT).subarray(0, TEXT_BYTES));
    const found = await measureAll(text);
    const rise = (name) => found[name] - found.f32;
    for (const { name } of RUNS)
      put(`quantize.smollm2.${name}.perplexity`, Math.exp(found[name]), "perplexity");
    for (const { name } of RUNS.slice(1))
      put(`quantize.smollm2.${name}.rise`, rise(name), "log-perplexity");
    put("quantize.smollm2.loss_vs_q4_0", rise("t4") / rise("q4_0"), "ratio");
  },
};
