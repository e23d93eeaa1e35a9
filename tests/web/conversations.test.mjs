// A conversation with a hybrid that reasons, in Chromium: each turn reads the last question and the
// answer without its reasoning, and answers as a model that reads everything.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { allowNoGpu, fileRoute, openHarness, root, tiny } from "./support.mjs";

const MODEL = "nemotron_h-g8x1";
const TEMPLATE = join(root, "tests", "data", "text", "templates", "nemotron.jinja");
/** Most tokens of a question, an answer without its reasoning, and the template around them. */
const TURN = 64;
const TURNS = 4;

describe("conversations", () => {
  let harness;
  before(async () => {
    const files = readdirSync(tiny(MODEL)).map((file) => join(MODEL, file));
    const routes = Object.fromEntries(
      files.map((file) => [`/tiny/${file}`, fileRoute(tiny(file))]),
    );
    harness = await openHarness({ routes });
  });
  after(() => harness?.close());

  for (const device of ["cpu", "webgpu"]) {
    const skip = device === "webgpu" && allowNoGpu && "there is no GPU";
    test(`go back to the last turn on ${device}`, { skip }, async () => {
      const { turns, memory } = await harness.run(
        async ({ TabLM }, [source, device, chatTemplate, count]) => {
          const load = () =>
            TabLM.load(source, { device, contextLength: 900, kvFormat: "f32", chatTemplate });
          const [model, fresh] = [await load(), await load()];
          const answer = (model, messages) =>
            model.chat.completions.create({
              messages,
              temperature: 0,
              max_completion_tokens: 12,
              reasoning_effort: "high",
            });
          const messages = [{ role: "system", content: "a plan is data, kernels in order" }];
          const turns = [];
          for (let turn = 0; turn < count; turn += 1) {
            messages.push({ role: "user", content: `question ${turn} on layers` });
            const found = await answer(model, messages);
            await answer(fresh, [{ role: "user", content: `${turn}` }]);
            const expected = await answer(fresh, messages);
            turns.push([found, expected].map(({ usage, token_ids }) => ({ usage, token_ids })));
            messages.push({ role: "assistant", content: `answer ${turn}` });
          }
          const { memory } = model.info;
          await Promise.all([model.dispose(), fresh.dispose()]);
          return { turns, memory };
        },
        [`/tiny/${MODEL}`, device, readFileSync(TEMPLATE, "utf8"), TURNS],
      );
      for (const [index, [found, expected]] of turns.entries()) {
        assert.deepEqual(found.token_ids, expected.token_ids, `turn ${index}`);
        const { prompt_tokens, prompt_tokens_details } = found.usage;
        const read = prompt_tokens - prompt_tokens_details.cached_tokens;
        assert.ok(index === 0 || read <= TURN, `turn ${index}: ${read} of ${prompt_tokens}`);
      }
      const { usage } = turns.at(-1)[0];
      assert.ok(usage.prompt_tokens > 3 * TURN, `${usage.prompt_tokens}`);
      assert.ok(memory.snapshotBytes > 0);
    });
  }

  test("report no console error", () => harness.expectQuiet());
});
