// Time to the first token in Chromium with a stored model: load, a prompt of 64 tokens, one token.
// TabLM, on the device that `auto` selects, and wllama take turns.

import { dirname } from "node:path";
import { openBrowser, openHarness, openPage, openServer } from "../web/support.mjs";
import { serveFolders } from "./contenders/folders.mjs";
import { CONTEXT_LENGTH, modelName, modelPath, promptText } from "./model.mjs";
import { installPeers, peerFolder } from "./peers.mjs";

const RUNS = 5;
const PROMPT_TOKENS = 64;
/** Tokens that the chat template adds. */
const TEMPLATE_TOKENS = 30;

/** Runs in the page: measures TabLM from load to the first token. */
async function measureTabLM({ TabLM }, { url, contextLength, words }) {
  const start = performance.now();
  const model = await TabLM.load(url, { contextLength });
  const messages = [{ role: "user", content: Array(words).fill("word").join(" ") }];
  const { usage } = await model.chat.completions.create({
    messages,
    temperature: 0,
    max_completion_tokens: 1,
  });
  const ms = performance.now() - start;
  const { backend } = model.info.device;
  await model.dispose();
  return { ms, tokens: usage.prompt_tokens, backend };
}

/** Runs in the page: measures wllama from load to the first token. */
async function measureWllama({ url, contextLength, prompt }) {
  const { Wllama, LoggerWithoutDebug } = await import("/esm/index.js");
  const start = performance.now();
  const wllama = new Wllama({ default: "/esm/wasm/wllama.wasm" }, { logger: LoggerWithoutDebug });
  await wllama.loadModelFromUrl(url, {
    n_ctx: contextLength,
    n_batch: 512,
    n_threads: 1,
    n_gpu_layers: 0,
    n_parallel: 1,
  });
  const { timings } = await wllama.createCompletion({
    prompt,
    max_tokens: 1,
    temperature: 0,
    top_k: 1,
    cache_prompt: false,
  });
  const ms = performance.now() - start;
  await wllama.exit();
  return { ms, tokens: timings.prompt_n };
}

async function openTabLM() {
  const harness = await openHarness();
  const options = {
    url: `/models/${modelName}`,
    contextLength: CONTEXT_LENGTH,
    words: PROMPT_TOKENS - TEMPLATE_TOKENS,
  };
  return { run: () => harness.run(measureTabLM, options), close: () => harness.close() };
}

async function openWllama() {
  await installPeers();
  const before = serveFolders({ "/models": dirname(modelPath) });
  const server = await openServer({ folder: peerFolder("@wllama/wllama"), policy: null, before });
  const browser = await openBrowser({ adapter: false });
  const { page } = await openPage(browser.context, `${server.address}/blank`);
  const options = {
    url: `${server.address}/models/${modelName}`,
    contextLength: CONTEXT_LENGTH,
    prompt: promptText(PROMPT_TOKENS),
  };
  const close = async () => {
    await browser.close();
    await server.close();
  };
  return { run: () => page.evaluate(measureWllama, options), close };
}

/** The part of the benchmark (see parts.mjs). */
export const firstToken = {
  name: "first_token_ms",
  minutes: 3,
  keys: ["first_token_ms.tablm", "first_token_ms.wllama", "first_token_ms.vs_wllama"],
  async measure(put) {
    const sides = [];
    try {
      for (const open of [openTabLM, openWllama]) sides.push(await open());
      const found = [[], []];
      // The first run of each side stores the model and is not counted.
      for (let run = 0; run <= RUNS; run += 1) {
        for (const [index, side] of sides.entries()) {
          const { ms, tokens, backend } = await side.run();
          if (Math.abs(tokens - PROMPT_TOKENS) > 6)
            throw new Error(`prompt: found ${tokens} tokens, expected about ${PROMPT_TOKENS}`);
          if (run > 0) found[index].push(ms);
          else if (backend)
            process.stderr.write(`bench: first_token_ms: auto selected ${backend}\n`);
        }
      }
      const [tablmMs, wllamaMs] = found;
      const ratios = tablmMs.map((ms, run) => ms / wllamaMs[run]);
      put("first_token_ms.tablm", tablmMs, "ms");
      put("first_token_ms.wllama", wllamaMs, "ms");
      put("first_token_ms.vs_wllama", ratios, "ratio");
    } finally {
      for (const side of sides) await side.close();
    }
  },
};
