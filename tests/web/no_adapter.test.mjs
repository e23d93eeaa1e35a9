// The package without a GPU in Chromium: golden answers, the builds of the engine, and errors.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { checkGolden, golden, goldenRequest, MODEL } from "./golden.mjs";
import { derivedRoutes, openHarness } from "./support.mjs";

/** Formats of 4 bits, 5 bits with offsets, 8 bits, and 6 bits with two levels of scales. */
const DERIVED_MODELS = [
  "SmolLM2-135M-Instruct.Q4_0.gguf",
  "SmolLM2-135M-Instruct.Q5_1.gguf",
  "SmolLM2-135M-Instruct.Q8_0.gguf",
  "tiny-Q6_K-256.gguf",
];
/** Models and the format to quantize them to, if any. */
const MODELS = [
  [MODEL],
  ...DERIVED_MODELS.map((name) => [`/derived/${name}`]),
  ["/derived/tiny-Q6_K-256.gguf", "T4"],
];

describe("without an adapter", () => {
  let harness;
  before(async () => {
    harness = await openHarness({ adapter: false, routes: derivedRoutes(DERIVED_MODELS) });
  });
  after(() => harness?.close());

  test("capabilities report no adapter", async () => {
    const report = await harness.run(({ TabLM }) => TabLM.capabilities());
    assert.ok(!report.adapter, `found the adapter ${JSON.stringify(report.adapter)}`);
    assert.equal(report.storage.opfs, true);
  });

  test("the exact CPU variant gives the golden answers", async (t) => {
    await harness.run(
      async ({ TabLM }, url) =>
        void (window.model = await TabLM.load(url, { cpuVariant: "exact" })),
      MODEL,
    );
    const speeds = [];
    for (const prompt of golden.prompts) {
      const answer = await harness.run(
        (_, request) => window.model.chat.completions.create(request),
        goldenRequest(prompt),
      );
      checkGolden(prompt, answer);
      speeds.push(answer.timings.decode_tokens_per_s.toFixed(1));
    }
    t.diagnostic(`${speeds.join(", ")} tokens/s`);
    await harness.run(() => window.model.dispose());
  });

  // Exactly equal: all builds round alike.
  for (const [url, quantize] of MODELS) {
    test(`all builds answer as the portable variant: ${url} ${quantize ?? ""}`, async () => {
      const ask = (build, cpuVariant) =>
        harness.run(
          async ({ TabLM }, [url, options]) => {
            const model = await TabLM.load(url, options);
            const { token_ids } = await model.chat.completions.create({
              messages: [{ role: "user", content: "What is the capital of France?" }],
              temperature: 0,
              max_completion_tokens: 8,
            });
            await model.dispose();
            return { token_ids, build: model.info.build };
          },
          [
            url,
            { wasmUrl: { [build]: `/tablm/wasm/${build}/tablm_bg.wasm` }, cpuVariant, quantize },
          ],
        );
      const { token_ids } = await ask("simd", "portable");
      assert.ok(token_ids.length > 1, `found ${token_ids.length} tokens`);
      for (const [build, variant] of [
        ["simd", "simd128"],
        ["relaxed", "relaxed"],
      ])
        assert.deepEqual(await ask(build, variant), { token_ids, build });
    });
  }

  test("device webgpu is refused with no-gpu", async () => {
    const code = await harness.run(async ({ TabLM }, url) => {
      try {
        const model = await TabLM.load(url, { device: "webgpu" });
        return model.info.device;
      } catch (error) {
        return error.code;
      }
    }, MODEL);
    assert.equal(code, "no-gpu");
  });
});

test("a model too large for the tab's memory is refused with its size", async (t) => {
  const harness = await openHarness({
    adapter: false,
    args: ["--js-flags=--wasm-max-mem-pages=1600"],
  });
  try {
    const error = await harness.run(async ({ TabLM }, url) => {
      const found = await TabLM.load(url, { device: "cpu" }).catch((error) => error);
      return { code: found.code, message: found.message };
    }, MODEL);
    t.diagnostic(error.message);
    assert.equal(error.code, "out-of-memory", error.message);
    assert.match(
      error.message,
      /needs \d{9} bytes of memory at a context length of 4096, \d{8} available;/,
    );
  } finally {
    await harness.close();
  }
});
