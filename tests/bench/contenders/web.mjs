// TabLM in Chromium, through the npm package as a page uses it.

import { openHarness } from "../../web/support.mjs";
import { CONTEXT_LENGTH, modelName } from "../model.mjs";

/** These end an answer; a benchmark goes on. */
const STOP_TOKENS = [0, 2];

/** Runs in the page: loads the model, keeps it there. */
async function load({ TabLM }, { url, ...options }) {
  const start = performance.now();
  window.model = await TabLM.load(url, options);
  return { info: window.model.info, loadMs: performance.now() - start };
}

/** Runs in the page: one answer. A plain word is one token; a digit in front makes each prompt new. */
async function answer(_, { words, digit, generateTokens, stopTokens }) {
  const { usage, timings } = await window.model.chat.completions.create({
    messages: [
      { role: "system", content: `${digit}${" word".repeat(words)}` },
      { role: "user", content: "Tell me a long story." },
    ],
    temperature: 0,
    max_completion_tokens: generateTokens,
    logit_bias: Object.fromEntries(stopTokens.map((token) => [token, -100])),
  });
  return { usage, timings, memory: window.model.info.memory };
}

/** A session on a device, `webgpu` or `cpu`, with so many threads on the CPU. */
export async function web(device, threads = 1) {
  const harness = await openHarness({ adapter: device === "webgpu", isolated: threads > 1 });
  try {
    return await session(harness, device, threads);
  } catch (error) {
    await harness.close().catch(() => undefined);
    throw error;
  }
}

async function session(harness, device, threads) {
  const { info, loadMs } = await harness.run(load, {
    url: `/models/${modelName}`,
    device,
    threads,
    contextLength: CONTEXT_LENGTH,
  });
  if ((info.device.backend === "cpu") !== (device === "cpu"))
    throw new Error(`asked for ${device}, runs on ${info.device.backend}`);
  if ((info.device.threads ?? 1) !== threads)
    throw new Error(`asked for ${threads} threads, has ${info.device.threads}`);
  let count = 0;
  const ask = (words, generateTokens) =>
    harness.run(answer, {
      words,
      digit: (count += 1) % 10,
      generateTokens,
      stopTokens: STOP_TOKENS,
    });
  // What the template adds to the words.
  const around = (await ask(1, 2)).usage.prompt_tokens - 1;
  const run = async ({ promptTokens, generateTokens }) => {
    const { usage, timings } = await ask(promptTokens - around, generateTokens);
    if (usage.prompt_tokens !== promptTokens)
      throw new Error(`the prompt has ${usage.prompt_tokens} tokens, expected ${promptTokens}`);
    return {
      // Without the few in front that were still there from the run before.
      prefillTokens: Math.round((timings.prefill_tokens_per_s * timings.prefill_ms) / 1000),
      prefillMs: timings.first_token_ms,
      decodeTokens: usage.completion_tokens - 1,
      decodeMs: timings.decode_ms,
      loadMs,
    };
  };
  return { device: info.device.adapter, run, close: () => harness.close() };
}
