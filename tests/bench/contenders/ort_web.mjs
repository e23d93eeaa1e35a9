// transformers.js in Chromium, on onnxruntime-web's WebGPU or single-threaded wasm backend. The
// model is the same, with its matrices converted to onnxruntime's 4-bit format.

import { openBrowser, openPage, openServer } from "../../web/support.mjs";
import { readPrompt } from "../model.mjs";
import { installPeers, onnxModel, peerFolder } from "../peers.mjs";
import { serveFolders } from "./folders.mjs";

const NAME = "smollm2";

/** Runs in the page: loads the model into a global variable. */
async function load({ name, device }) {
  const { AutoModelForCausalLM, Tensor, env } = await import("/transformers/transformers.min.js");
  Object.assign(env, {
    allowRemoteModels: false,
    allowLocalModels: true,
    localModelPath: "/onnx/",
    useBrowserCache: false,
  });
  Object.assign(env.backends.onnx.wasm, { wasmPaths: "/ort/", numThreads: 1 });
  const start = performance.now();
  const model = await AutoModelForCausalLM.from_pretrained(name, { device, dtype: "q4" });
  window.peer = { model, Tensor };
  return { version: env.version, loadMs: performance.now() - start };
}

/** Runs in the page: generates an answer. The streamer gets the prompt first, then each token. */
async function generate({ ids, generateTokens }) {
  const { model, Tensor } = window.peer;
  const times = [];
  const streamer = { put: () => times.push(performance.now()), end: () => undefined };
  const tensor = (values) =>
    new Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
  const start = performance.now();
  await model.generate({
    input_ids: tensor(ids),
    attention_mask: tensor(ids.map(() => 1)),
    do_sample: false,
    max_new_tokens: generateTokens,
    min_new_tokens: generateTokens,
    streamer,
  });
  return { first: times[1] - start, rest: times.at(-1) - times[1], count: times.length - 1 };
}

/** Opens a session on a device, `webgpu` or `wasm`. */
export async function ortWeb(device) {
  await installPeers();
  const folder = await onnxModel(NAME);
  const server = await openServer({
    policy: null,
    before: serveFolders({
      "/transformers": peerFolder("@huggingface/transformers/dist"),
      "/ort": peerFolder("onnxruntime-web/dist"),
      "/onnx": folder,
    }),
  });
  let browser;
  const close = async () => {
    await browser?.close();
    await server.close();
  };
  try {
    browser = await openBrowser({ adapter: device === "webgpu" });
    const { page } = await openPage(browser.context, `${server.address}/blank`);
    page.setDefaultTimeout(0);
    const { version, loadMs } = await page.evaluate(load, { name: NAME, device });
    const { ids } = readPrompt();
    const run = async ({ promptTokens, generateTokens }) => {
      const { first, rest, count } = await page.evaluate(generate, {
        ids: ids.slice(0, promptTokens),
        generateTokens,
      });
      if (count !== generateTokens)
        throw new Error(`transformers.js: found ${count} tokens, expected ${generateTokens}`);
      return {
        prefillTokens: promptTokens,
        prefillMs: first,
        decodeTokens: count - 1,
        decodeMs: rest,
        loadMs,
      };
    };
    return {
      device: `${device === "webgpu" ? "WebGPU" : "CPU, 1 thread"}, transformers.js ${version}`,
      run,
      close,
    };
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
}
