// TabLM's command line, with a separate process for every run.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { flags } from "../commands.mjs";
import { CONTEXT_LENGTH, modelPath, nativeBinary } from "../model.mjs";

async function bench(backend, threads, tokens, signal) {
  const options = {
    model: modelPath,
    backend,
    threads,
    context: CONTEXT_LENGTH,
    ...tokens,
    repeat: 1,
    json: true,
  };
  let output;
  try {
    const parameters = ["bench", ...flags(options)];
    output = (await promisify(execFile)(nativeBinary, parameters, { signal })).stdout;
  } catch (error) {
    const lines = (error.stderr ?? "").trim().split("\n");
    const last = lines.findLast((line) => line.startsWith("error: "));
    throw new Error(last ?? `${nativeBinary}: ${error.message}`);
  }
  const report = JSON.parse(output);
  if ((report.device.backend === "cpu") !== (backend === "cpu"))
    throw new Error(`device: found ${report.device.backend}, expected ${backend}`);
  return report;
}

/** Opens a session on a backend, `gpu` or `cpu`; `threads` is for the CPU. */
export async function native(backend, threads = 1) {
  const closing = new AbortController();
  process.once("exit", () => closing.abort());
  const run = async (request) => {
    const { timings, step } = await bench(backend, threads, request, closing.signal);
    return {
      prefillTokens: request.promptTokens,
      prefillMs: timings.first_token_ms,
      decodeTokens: request.generateTokens - 1,
      decodeMs: timings.decode_ms,
      loadMs: timings.load_ms,
      step,
    };
  };
  // Names the device, and fills the driver's shader cache.
  const tokens = { promptTokens: 65, generateTokens: 2 };
  const { device } = await bench(backend, threads, tokens, closing.signal);
  return { device: device.adapter, run, close: async () => closing.abort() };
}
