// Tiny models of every family in Chromium, a folder and a GGUF file of each: the greedy answers of
// Hugging Face transformers, and their log-probabilities. A software adapter takes up to 20 seconds
// to compile the pipelines of a model, so that the GPU answers with two: one with short
// convolutions, windows and gates, and one with Mamba-2 mixers beside attention. With
// ALL_FAMILIES_ON_GPU=1, as in `make proof`, it answers with all.

import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { allowNoGpu, fileRoute, openHarness, readJson, tiny } from "./support.mjs";

const answers = readJson("tests", "data", "tiny", "reference", "answers.json");
const ON_GPU = ["lfm3-pattern", "falcon_h1-norm.gguf"];
const ANSWERS = {
  cpu: answers,
  webgpu: answers.filter(
    ({ path }) => process.env.ALL_FAMILIES_ON_GPU === "1" || ON_GPU.includes(path),
  ),
};
/** Bound of the differences of logits, relative to the greatest; log-probabilities have two. */
const TOLERANCE = 1e-4;

/** Compares the log-probabilities of an answer with those of transformers. */
function compareLogprobs(path, found, { logprobs, first_logprobs, greatest_logit }) {
  const bound = 2 * TOLERANCE * greatest_logit;
  const compare = (name, entries, expected) => {
    assert.equal(entries.length, expected.length, `${path}: ${name}`);
    for (const [index, { logprob }] of entries.entries()) {
      const difference = Math.abs(logprob - expected[index]);
      assert.ok(difference <= bound, `${path}: ${name}[${index}]: ${difference} > ${bound}`);
    }
  };
  compare("logprobs", found, logprobs);
  compare("top_logprobs", found[0].top_logprobs, first_logprobs);
}

/** Routes to the files of the models: `/tiny/NAME.gguf`, `/tiny/NAME/FILE`. */
function modelRoutes() {
  const routes = {};
  for (const { path } of answers) {
    const isFolder = statSync(tiny(path)).isDirectory();
    const files = isFolder ? readdirSync(tiny(path)).map((file) => join(path, file)) : [path];
    for (const file of files) routes[`/tiny/${file}`] = fileRoute(tiny(file));
  }
  return routes;
}

describe("families", () => {
  let harness;
  before(async () => {
    harness = await openHarness({ routes: modelRoutes() });
  });
  after(() => harness?.close());

  const answer = ({ path, text, ids }, device) =>
    harness.run(
      async ({ TabLM }, [source, device, text, tokens]) => {
        const model = await TabLM.load(source, {
          device,
          contextLength: 256,
          kvFormat: "f32",
          // Stated, because measuring them compiles still more pipelines.
          ...(device === "webgpu" && { strategy: "workgroup_reduce", tiling: "workgroup_memory" }),
          chatTemplate: "{{ messages[0].content }}",
        });
        const { token_ids, usage, choices } = await model.chat.completions.create({
          messages: [{ role: "user", content: text }],
          temperature: 0,
          max_completion_tokens: tokens,
          logprobs: true,
          top_logprobs: 20,
        });
        const { backend } = model.info.device;
        await model.dispose();
        const { content } = choices[0].logprobs;
        return { ids: token_ids, prompt_tokens: usage.prompt_tokens, backend, content };
      },
      [`/tiny/${path}`, device, text, ids.length],
    );

  for (const [device, expectedAnswers] of Object.entries(ANSWERS)) {
    const skip = device === "webgpu" && allowNoGpu && "there is no GPU";
    test(`give transformers' answers on ${device}`, { skip }, async (t) => {
      const began = performance.now();
      for (const expected of expectedAnswers) {
        const { path, prompt_tokens, ids } = expected;
        const { content, ...found } = await answer(expected, device);
        assert.deepEqual(found, { ids, prompt_tokens, backend: device }, path);
        assert.deepEqual(
          ids,
          content.map(({ id }) => id),
          path,
        );
        compareLogprobs(path, content, expected);
      }
      t.diagnostic(
        `${expectedAnswers.length} models in ${Math.round(performance.now() - began)} ms`,
      );
    });
  }

  test("report no console error", () => harness.expectQuiet());
});
