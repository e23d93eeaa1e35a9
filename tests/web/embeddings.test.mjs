// Embeddings in Chromium: all-MiniLM-L6-v2 from the URL of its folder, files with dense layers,
// OpenAI's shape, invalid requests, and a model that generates text.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { MODEL } from "./golden.mjs";
import { folderRoutes, onGpu, openHarness, readJson, root } from "./support.mjs";

const golden = readJson("tests", "data", "golden", "minilm.json");
const MINILM = "models/all-MiniLM-L6-v2";
const DENSE = "derived/embeddings/embeddinggemma-dense";
const WIDTH = 384;

/** Numbers of a file of the repository. */
function floats(...path) {
  const bytes = readFileSync(`${root}/${path.join("/")}`);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

const dot = (a, b) => Array.from(a).reduce((sum, x, index) => sum + x * b[index], 0);
const cosine = (a, b) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));

/** Loads a model as `window.model`, with `window.embed` to send requests. */
function loadModel(harness, source, options) {
  return harness.run(
    async ({ TabLM }, [source, options]) => {
      await window.model?.dispose();
      const file = async ([path, url]) => {
        const found = new File([await (await fetch(url)).blob()], path.split("/").at(-1));
        Object.defineProperty(found, "webkitRelativePath", { value: path });
        return found;
      };
      const files = typeof source !== "string" && (await Promise.all(source.map(file)));
      window.model = await TabLM.load(files || source, options);
      window.embed = async (request) => {
        try {
          return await window.model.embeddings.create(request);
        } catch (error) {
          return { code: error.code, message: error.message };
        }
      };
    },
    [source, options],
  );
}

const embed = (harness, request) => harness.run((_, request) => window.embed(request), request);

describe("embeddings", () => {
  let harness;
  const routes = { ...folderRoutes(MINILM), ...folderRoutes(DENSE) };
  before(async () => (harness = await openHarness({ routes })));
  after(() => harness?.close());

  for (const options of [onGpu, { device: "cpu" }]) {
    test(`equal the reference on 50 sentences (${options.device})`, async (t) => {
      await loadModel(harness, `/cache/${MINILM}/`, options);
      const { data, usage, object, model } = await embed(harness, { input: golden.sentences });
      assert.deepEqual([object, model, data.length], ["list", "all-MiniLM-L6-v2", 50]);
      assert.deepEqual(usage, { prompt_tokens: golden.tokens, total_tokens: golden.tokens });
      const expected = floats("tests", "data", "golden", "minilm.f32");
      const cosines = data.map(({ object, index, embedding }, at) => {
        assert.deepEqual([object, index, embedding.length], ["embedding", at, WIDTH]);
        return cosine(embedding, expected.slice(at * WIDTH, (at + 1) * WIDTH));
      });
      t.diagnostic(`least cosine: 1 - ${(1 - Math.min(...cosines)).toExponential(1)}`);
      for (const [at, found] of cosines.entries())
        assert.ok(found > 0.9999, `${golden.sentences[at]}: ${found}`);
    });
  }

  test("have OpenAI's options", async () => {
    const input = "The cat sits outside on the mat.";
    const whole = (await embed(harness, { input, user: "someone", model: "mine" })).data[0];
    const bytes = await embed(harness, { input, model: "mine", encoding_format: "base64" });
    assert.equal(bytes.model, "mine");
    const decoded = Buffer.from(bytes.data[0].embedding, "base64");
    const numbers = new Float32Array(new Uint8Array(decoded).buffer);
    assert.deepEqual(Array.from(numbers), whole.embedding);
    const { data } = await embed(harness, { input: [input], dimensions: 16 });
    const length = Math.sqrt(dot(whole.embedding.slice(0, 16), whole.embedding));
    data[0].embedding.forEach((x, index) =>
      assert.ok(Math.abs(x - whole.embedding[index] / length) < 1e-6),
    );
    const tokens = await embed(harness, { input: [[101, 102], [7]] });
    assert.deepEqual([tokens.data.length, tokens.usage.total_tokens], [2, 3]);
  });

  test("name the field of an invalid request", async () => {
    for (const [request, code, message] of [
      [{}, "invalid-request", /^input: found null, expected/],
      [{ input: [] }, "invalid-request", /^input: found 0 texts, expected/],
      [{ input: "" }, "invalid-request", /^input\[0\]: text: found none, expected/],
      [{ input: ["a", 1] }, "invalid-request", /^input\[1\]: found 1, expected/],
      [{ input: [[30522]] }, "invalid-request", /^input\[0\]: tokens: found 30522, expected/],
      [{ input: "word ".repeat(300) }, "context-full", /^input\[0\]: .*found 302 tokens/],
      [{ input: "a", dimensions: 385 }, "invalid-request", /^dimensions: found 385, expected/],
      [{ input: "a", encoding_format: "hex" }, "invalid-request", /^encoding_format: found/],
      [{ input: "a", model: 1 }, "invalid-request", /^model: found 1, expected/],
      [{ input: "a", stream: true }, "invalid-request", /^stream: found an unknown field/],
    ]) {
      const found = await embed(harness, request);
      assert.equal(found.code, code, found.message);
      assert.match(found.message, message);
    }
    const chat = await harness.run(() =>
      window.model.chat.completions
        .create({ messages: [{ role: "user", content: "Hi" }] })
        .catch(({ code, message }) => ({ code, message })),
    );
    assert.equal(chat.code, "invalid-request", chat.message);
    assert.match(chat.message, /^model: found bert/);
  });

  test("can be aborted, and the model stays usable", async () => {
    const found = await harness.run(async (_, input) => {
      const controller = new AbortController();
      const aborted = window.model.embeddings
        .create({ input: Array(500).fill(input) }, { signal: controller.signal })
        .catch(({ code }) => code);
      setTimeout(() => controller.abort(), 50);
      return [await aborted, (await window.model.embeddings.create({ input })).data.length];
    }, golden.sentences.at(-1));
    assert.deepEqual(found, ["aborted", 1]);
  });

  test("use dense layers and prompts, from files and from a URL", async () => {
    const { texts, models } = readJson("tests", "data", "tiny", "reference", "embeddings.json");
    const model = models.find(({ name }) => DENSE.endsWith(name));
    const before = models.slice(0, models.indexOf(model));
    const rows = ({ prompt_tokens }) => 7 + texts.length + Object.keys(prompt_tokens).length;
    const start = before.reduce((sum, it) => sum + rows(it) * it.width, 0);
    const all = floats("tests", "data", "tiny", "reference", "embeddings.f32");
    const row = (index) => all.slice(start + index * model.width).slice(0, model.width);
    const urls = Object.keys(folderRoutes(DENSE));
    const files = urls.map((url) => [url.slice(url.indexOf("embeddinggemma-dense")), url]);
    for (const source of [files, `/cache/${DENSE}/`]) {
      await loadModel(harness, source, { ...onGpu, contextLength: 600 });
      const { data } = await embed(harness, { input: texts });
      const query = await embed(harness, { input: texts[0], prompt_name: "query" });
      assert.equal(query.usage.prompt_tokens, model.prompt_tokens.query);
      for (const [found, expected] of [
        [data[0], row(7)],
        [data[1], row(8)],
        [query.data[0], row(9)],
      ])
        assert.ok(cosine(found.embedding, expected) > 0.999999);
      const unknown = await embed(harness, { input: "a", prompt_name: "other" });
      assert.match(unknown.message, /^prompt_name: found "other", expected one of query, document/);
    }
  });

  test("come from a model that generates text too", async () => {
    await loadModel(harness, MODEL, { ...onGpu, contextLength: 256 });
    const { data } = await embed(harness, {
      input: ["The cat sat on the mat.", "A cat was sitting on the rug.", "x = 3 + 4"],
    });
    const [a, b, c] = data.map(({ embedding }) => embedding);
    assert.ok(a.length === 576 && cosine(a, b) > cosine(a, c));
    const answer = await harness.run(() =>
      window.model.chat.completions.create({
        messages: [{ role: "user", content: "Hi" }],
        max_completion_tokens: 2,
      }),
    );
    assert.equal(answer.token_ids.length, 2);
  });
});
