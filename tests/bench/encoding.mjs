// What the host takes to encode a token of Nemotron 3 Nano 4B in Chromium: of its narrow twin, which has the
// same kernels and decodes hundreds of tokens where the whole of it has four.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileRoute, openHarness } from "../web/support.mjs";
import { python } from "./full_size.mjs";

const RUNS = 5;
const TOKENS = 64;
/** Characters, each a token: past the first 128 positions attention has all its kernels. */
const PROMPT = 160;
/** Of the whole model where one binding holds its largest matrix. */
const DISPATCHES = 118;

/** Runs in the page: the step of each of some answers. */
async function answers({ TabLM }, { url, runs, maxTokens, prompt }) {
  const model = await TabLM.load(url, { device: "webgpu", contextLength: 1024 });
  const steps = [];
  while (steps.length < runs) {
    const messages = [{ role: "user", content: "x".repeat(prompt) }];
    const { usage } = await model.chat.completions.create({
      messages,
      temperature: 0,
      max_completion_tokens: maxTokens,
    });
    steps.push({ ...model.info.step, tokens: usage.completion_tokens });
  }
  await model.dispose();
  return steps;
}

/** A part of the benchmark, see parts.mjs. */
export const encoding = {
  name: "encoding",
  minutes: 1,
  keys: ["step.encode_us"],
  async measure(put) {
    const folder = mkdtempSync(join(tmpdir(), "tablm-narrow-"));
    try {
      const options = ["nemotron4b_narrow", "--vocabulary", 512, "--folder", folder];
      const file = await python("tests/data/make_narrow.py", ...options);
      const url = `/full-size/${basename(file)}`;
      const harness = await openHarness({ routes: { [url]: fileRoute(file) } });
      try {
        const steps = await harness.run(answers, {
          url,
          runs: RUNS,
          maxTokens: TOKENS,
          prompt: PROMPT,
        });
        for (const { tokens, dispatches } of steps) {
          if (tokens !== TOKENS || dispatches !== DISPATCHES) {
            throw new Error(
              `found ${tokens} tokens of ${dispatches} kernels, expected ${TOKENS} of ${DISPATCHES}`,
            );
          }
        }
        put(
          "step.encode_us",
          steps.map(({ encode_us }) => encode_us),
          "µs",
        );
      } finally {
        await harness.close();
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
