// Ways to compute products on the GPU, forced in turn, in Chromium.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { allowNoGpu, derived, derivedRoutes, nativeAnswer, openHarness } from "./support.mjs";

const MODEL = "tiny-Q4_K-256.gguf";
const URL = `/derived/${MODEL}`;
/**
 * Variants, each with another tile. Between them, and `quads` in engine.test.mjs, they have every file that a
 * variant or a tile has and this adapter compiles: the other variants are parts of these, of other numbers.
 */
const WAYS = [
  ["subgroups", "staged"],
  ["packed", "quads"],
  ["pairs", "registers"],
];

describe("products by force", { skip: allowNoGpu && "there is no GPU" }, () => {
  let harness;
  before(async () => {
    harness = await openHarness({ routes: derivedRoutes([MODEL]) });
    await harness.run(({ TabLM }) => {
      window.answer = async (url, options) => {
        const model = await TabLM.load(url, { contextLength: 64, ...options });
        const messages = [{ role: "user", content: "Hello" }];
        const { token_ids } = await model.chat.completions.create({
          messages,
          temperature: 0,
          max_completion_tokens: 8,
        });
        const { kernels } = model.info;
        await model.dispose();
        return { token_ids, kernels };
      };
    });
  });
  after(() => harness?.close());

  const answer = (options) =>
    harness.run((_, [url, options]) => window.answer(url, options), [URL, options]);

  // What rounds inputs has the same ids: no two logits of this model are so close.
  test("each has the answer of the command line on the CPU", async () => {
    const { token_ids: expected } = nativeAnswer(
      [{ role: "user", content: "Hello" }],
      8,
      derived(MODEL),
      "cpu",
    );
    assert.equal(expected.length, 8);
    for (const [variant, tile] of WAYS) {
      const { token_ids, kernels } = await answer({ device: "webgpu", variant, tile });
      assert.deepEqual(token_ids, expected, `${variant}, ${tile}`);
      for (const name of [`matvec Q4_K ${variant}`, `matmul Q4_K ${tile}`])
        assert.ok(kernels.includes(name), `${name} in ${kernels}`);
    }
  });

  test("half precision is refused by name where there is none", async () => {
    const refused = await harness.run(async (_, url) => {
      try {
        return await window.answer(url, { device: "webgpu", variant: "half" });
      } catch ({ code, message }) {
        return { code, message };
      }
    }, URL);
    assert.equal(refused.code, "invalid-request");
    assert.match(refused.message, /variant.*half.*shader-f16/);
  });
});
