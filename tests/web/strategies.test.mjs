// Strategies for matrix products on the GPU, forced in turn, in Chromium.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { allowNoGpu, derived, derivedRoutes, nativeAnswer, openHarness } from "./support.mjs";

const MODEL = "tiny-Q4_K-256.gguf";
const URL = `/derived/${MODEL}`;
/**
 * Pairs of a matvec strategy and a matmul tiling. Together with the one in engine.test.mjs they use
 * every shader file of strategies and tilings that this adapter compiles; the others combine the
 * same files.
 */
const STRATEGIES = [
  ["subgroup_reduce", "workgroup_memory"],
  ["workgroup_reduce_32_dp4a", "registers_broadcast4"],
  ["lane_per_quad_broadcast_int10x2", "registers"],
];

describe("forced strategies", { skip: allowNoGpu && "there is no GPU" }, () => {
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

  // Strategies that round inputs give the same ids: this model's logits are far enough apart.
  test("give the same answer as the command line on the CPU", async () => {
    const { token_ids: expected } = nativeAnswer(
      [{ role: "user", content: "Hello" }],
      8,
      derived(MODEL),
      "cpu",
    );
    assert.equal(expected.length, 8);
    for (const [strategy, tiling] of STRATEGIES) {
      const { token_ids, kernels } = await answer({ device: "webgpu", strategy, tiling });
      assert.deepEqual(token_ids, expected, `${strategy}, ${tiling}`);
      for (const name of [`matvec Q4_K ${strategy}`, `matmul Q4_K ${tiling}`])
        assert.ok(kernels.includes(name), `${name} in ${kernels}`);
    }
  });

  test("in f16 are rejected on adapters without shader-f16", async () => {
    const refused = await harness.run(async (_, url) => {
      try {
        return await window.answer(url, { device: "webgpu", strategy: "workgroup_reduce_32_f16" });
      } catch ({ code, message }) {
        return { code, message };
      }
    }, URL);
    assert.equal(refused.code, "invalid-request");
    assert.match(refused.message, /strategy.*f16.*shader-f16/);
  });
});
