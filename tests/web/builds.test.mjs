// The engine's wasm builds: when one is missing, broken or unsupported, the next best one runs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { modelName, openHarness, readJson, root } from "./support.mjs";

const golden = readJson("tests", "data", "golden", "smollm2.json");
const [prompt] = golden.prompts;
const ids = golden.hf_f32.prompts[prompt.id].gen_ids.slice(0, 4);

// Server responses for a faulty file of a build.
const MISSING = (_, response) => response.writeHead(404).end();
/** The response of hosts that serve a single-page app for all unknown paths. */
const HTML_PAGE = (_, response) =>
  response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html>");
const TRUNCATED = (_, response) =>
  response
    .writeHead(200, { "Content-Type": "application/wasm" })
    .end(readFileSync(join(root, "pkg/dist/wasm/simd/tablm_bg.wasm")).subarray(0, 1000));
const INVALID = (_, response) =>
  response
    .writeHead(200, { "Content-Type": "application/wasm" })
    .end(Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 1, 0xff]));

/** A worker in which allocating shared memory fails. */
const WITHOUT_SHARED_MEMORY = (_, response) =>
  response.writeHead(200, {
    "Content-Type": "text/javascript",
    "Cross-Origin-Embedder-Policy": "require-corp",
  }).end(`
    import "/tablm/worker.js";
    const { Memory } = WebAssembly;
    WebAssembly.Memory = function (options) {
      if (options.shared) throw new RangeError("could not allocate memory");
      return new Memory(options);
    };
  `);

const GLUE = (build) => `/tablm/wasm/${build}/tablm.js`;
const WASM = (build) => `/tablm/wasm/${build}/tablm_bg.wasm`;

describe("an unavailable build", () => {
  let harness;
  const routes = {};
  before(async () => {
    for (const path of ["threads", "relaxed", "simd"].flatMap((build) => [
      GLUE(build),
      WASM(build),
    ]))
      routes[path] = undefined;
    harness = await openHarness({ adapter: false, isolated: true, routes });
  });
  after(() => harness?.close());

  /** Loads the model and returns the build in use and the ids of its answer. */
  const load = (options) =>
    harness.run(
      async ({ TabLM }, [url, options, request]) => {
        const model = await TabLM.load(url, {
          device: "cpu",
          threads: 2,
          contextLength: 256,
          ...options,
        });
        const { token_ids } = await model.chat.completions.create(request);
        const { build } = model.info;
        await model.dispose();
        return { build, token_ids };
      },
      [
        `/models/${modelName}`,
        options,
        { messages: prompt.messages, temperature: 0, max_completion_tokens: ids.length },
      ],
    );

  for (const [what, wrong, options, build] of [
    ["is missing", { [GLUE("threads")]: MISSING }, {}, "relaxed"],
    [
      "has another content type",
      { [GLUE("threads")]: HTML_PAGE, [GLUE("relaxed")]: HTML_PAGE },
      {},
      "simd",
    ],
    [
      "lacks its wasm file",
      { [WASM("threads")]: MISSING, [WASM("relaxed")]: HTML_PAGE },
      {},
      "simd",
    ],
    ["does not compile", { [WASM("threads")]: INVALID, [WASM("relaxed")]: TRUNCATED }, {}, "simd"],
    [
      "cannot allocate shared memory",
      { "/without/worker.js": WITHOUT_SHARED_MEMORY },
      { workerUrl: "/without/worker.js" },
      "relaxed",
    ],
    [
      "is the best one for a single thread",
      { [WASM("relaxed")]: MISSING, [GLUE("simd")]: MISSING },
      { threads: 1 },
      "threads",
    ],
    ["is not at the URL given for it", {}, { wasmUrl: { threads: "/none.wasm" } }, "threads"],
    [
      "is missing while others have given URLs",
      {},
      { wasmUrl: { threads: "/none.wasm", simd: WASM("simd") } },
      "simd",
    ],
    ["is missing at the URL given for all", {}, { wasmUrl: "/none.wasm" }, "threads"],
  ]) {
    test(`${what}: ${build} runs`, async () => {
      Object.assign(routes, wrong);
      try {
        assert.deepEqual(await load(options), { build, token_ids: ids });
      } finally {
        for (const path of Object.keys(wrong)) routes[path] = undefined;
      }
    });
  }

  test("is named in the error if no build is available", async () => {
    const all = ["threads", "relaxed", "simd"].map(WASM);
    for (const path of all) routes[path] = MISSING;
    const refused = await harness.run(
      ({ TabLM }, url) => TabLM.load(url).catch(({ code, message }) => [code, message]),
      `/models/${modelName}`,
    );
    assert.equal(refused[0], "network");
    assert.match(
      refused[1],
      /could not load the wasm module \(.*404.*\/wasm\/threads\/tablm_bg\.wasm/,
    );
    for (const path of all) routes[path] = undefined;
    assert.deepEqual(await load({}), { build: "threads", token_ids: ids });
  });
});
