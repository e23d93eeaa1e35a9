// Host time to encode a decoding step of Nemotron 3 Nano 4B in Chromium, measured on a narrow
// variant with the same kernels over smaller matrices, fast enough for hundreds of tokens.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileRoute, openHarness } from "../web/support.mjs";
import { python } from "./commands.mjs";

const RUNS = 5;
const TOKENS = 64;
/** One token per character; past 128 positions attention uses all its kernels. */
const PROMPT_CHARACTERS = 160;
/** Dispatches per step of the full-size model where one binding can hold its largest matrix. */
const DISPATCHES = 118;

/** Runs in the page: returns the step counters after each of `runs` answers. */
async function measureSteps({ TabLM }, { url, runs, maxTokens, prompt }) {
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

/** The part of the benchmark (see parts.mjs). */
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
        const steps = await harness.run(measureSteps, {
          url,
          runs: RUNS,
          maxTokens: TOKENS,
          prompt: PROMPT_CHARACTERS,
        });
        for (const { tokens, dispatches } of steps) {
          if (tokens !== TOKENS || dispatches !== DISPATCHES) {
            throw new Error(
              `encoding: found ${tokens} tokens of ${dispatches} dispatches, ` +
                `expected ${TOKENS} of ${DISPATCHES}`,
            );
          }
        }
        const times = steps.map(({ encodeUs }) => encodeUs);
        put("step.encode_us", times, "µs");
      } finally {
        await harness.close();
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
