// TabLM in Chromium, through the npm package.

import { openHarness } from "../../web/support.mjs";
import { CONTEXT_LENGTH, modelName } from "../model.mjs";

/** Stop tokens, suppressed so that every answer has the requested length. */
const STOP_TOKENS = [0, 2];

/** Runs in the page: loads the model into a global variable. */
async function load({ TabLM }, { url, ...options }) {
  const start = performance.now();
  window.model = await TabLM.load(url, options);
  return { info: window.model.info, loadMs: performance.now() - start };
}

/** Runs in the page: generates an answer. A word is one token; the digit prevents prefix reuse. */
async function generate(_, { words, digit, generateTokens, stopTokens }) {
  const { usage, timings } = await window.model.chat.completions.create({
    messages: [
      { role: "system", content: `${digit}${" word".repeat(words)}` },
      { role: "user", content: "Tell me a long story." },
    ],
    temperature: 0,
    max_completion_tokens: generateTokens,
    logit_bias: Object.fromEntries(stopTokens.map((token) => [token, -100])),
  });
  return { usage, timings };
}

/** Opens a session on a device, `webgpu` or `cpu`; `threads` is for the CPU. */
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
    throw new Error(`device: found ${info.device.backend}, expected ${device}`);
  if ((info.device.threads ?? 1) !== threads)
    throw new Error(`threads: found ${info.device.threads}, expected ${threads}`);
  let count = 0;
  const ask = (words, generateTokens) =>
    harness.run(generate, {
      words,
      digit: (count += 1) % 10,
      generateTokens,
      stopTokens: STOP_TOKENS,
    });
  // Tokens that the chat template adds.
  const templateTokens = (await ask(1, 2)).usage.prompt_tokens - 1;
  const run = async ({ promptTokens, generateTokens }) => {
    const { usage, timings } = await ask(promptTokens - templateTokens, generateTokens);
    if (usage.prompt_tokens !== promptTokens)
      throw new Error(`prompt: found ${usage.prompt_tokens} tokens, expected ${promptTokens}`);
    return {
      // Fewer than the prompt's: its first tokens are reused from the previous run.
      prefillTokens: Math.round((timings.prefill_tokens_per_s * timings.prefill_ms) / 1000),
      prefillMs: timings.first_token_ms,
      decodeTokens: usage.completion_tokens - 1,
      decodeMs: timings.decode_ms,
      loadMs,
    };
  };
  return { device: info.device.adapter, run, close: () => harness.close() };
}
