// wllama (llama.cpp as wasm) in Chromium, on one thread, as on a page without isolation headers.

import { dirname } from "node:path";
import { openBrowser, openPage, openServer } from "../../web/support.mjs";
import { CONTEXT_LENGTH, modelName, modelPath, promptText, readPrompt } from "../model.mjs";
import { installPeers, peerFolder } from "../peers.mjs";
import { serveFolders } from "./folders.mjs";

/** Runs in the page: loads the model into a global variable. */
async function load({ url, contextLength }) {
  const { Wllama, LoggerWithoutDebug } = await import("/esm/index.js");
  const start = performance.now();
  const model = await (await fetch(url)).blob();
  window.wllama = new Wllama({ default: "/esm/wasm/wllama.wasm" }, { logger: LoggerWithoutDebug });
  await window.wllama.loadModel([model], {
    n_ctx: contextLength,
    n_batch: 512,
    n_threads: 1,
    n_gpu_layers: 0,
    n_parallel: 1,
  });
  return {
    version: Wllama.getLibllamaVersion(),
    threads: window.wllama.getNumThreads(),
    loadMs: performance.now() - start,
  };
}

/** Runs in the page: generates a completion and returns llama.cpp's own timings. */
async function complete({ prompt, generateTokens }) {
  const { timings } = await window.wllama.createCompletion({
    prompt,
    max_tokens: generateTokens,
    temperature: 0,
    top_k: 1,
    seed: 1,
    cache_prompt: false,
    ignore_eos: true,
  });
  return timings;
}

/** Opens a session. */
export async function wllama() {
  await installPeers();
  const server = await openServer({
    folder: peerFolder("@wllama/wllama"),
    policy: null,
    before: serveFolders({ "/models": dirname(modelPath) }),
  });
  let browser;
  const close = async () => {
    await browser?.close();
    await server.close();
  };
  try {
    browser = await openBrowser({ adapter: false });
    const { page } = await openPage(browser.context, `${server.address}/blank`);
    const { version, threads, loadMs } = await page.evaluate(load, {
      url: `/models/${modelName}`,
      contextLength: CONTEXT_LENGTH,
    });
    const promptLength = readPrompt().ids.length;
    const run = async ({ promptTokens, generateTokens }) => {
      const prompt = promptText(promptTokens);
      const timings = await page.evaluate(complete, { prompt, generateTokens });
      // A part of the prompt, as the warm-up has it, is cut at about the right token.
      if (promptTokens === promptLength && timings.prompt_n !== promptLength)
        throw new Error(
          `wllama: prompt: found ${timings.prompt_n} tokens, expected ${promptLength}`,
        );
      return {
        prefillTokens: timings.prompt_n,
        prefillMs: timings.prompt_ms,
        // llama.cpp's timer starts with the first token.
        decodeTokens: timings.predicted_n - 1,
        decodeMs: timings.predicted_ms,
        loadMs,
      };
    };
    return {
      device: `CPU, ${threads} ${threads === 1 ? "thread" : "threads"}, llama.cpp ${version}`,
      run,
      close,
    };
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
}
