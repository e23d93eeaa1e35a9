// The engine's wasm builds: when one is missing, broken or unsupported, the next best one runs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { golden, goldenRequest, MODEL } from "./golden.mjs";
import { openHarness, responseRoute, root, scriptRoute } from "./support.mjs";

const [prompt] = golden.prompts;
const ids = golden.hf_f32.prompts[prompt.id].gen_ids.slice(0, 4);

// Routes to faulty files of a build.
const WASM_TYPE = { "Content-Type": "application/wasm" };
const SIMD_WASM = readFileSync(join(root, "pkg/dist/wasm/simd/tablm_bg.wasm"));
const MISSING = responseRoute(404, {});
/** The response of hosts that serve a single-page app for all unknown paths. */
const HTML_PAGE = responseRoute(200, { "Content-Type": "text/html" }, "<!doctype html>");
const TRUNCATED = responseRoute(200, WASM_TYPE, SIMD_WASM.subarray(0, 1000));
/** The header of a module, then a section that ends before its size. */
const INVALID_MODULE = Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 1, 0xff]);
const INVALID = responseRoute(200, WASM_TYPE, INVALID_MODULE);

/** A worker in which allocating shared memory fails. */
const WITHOUT_SHARED_MEMORY = scriptRoute(`
  import "/tablm/worker.js";
  const { Memory } = WebAssembly;
  WebAssembly.Memory = function (options) {
    if (options.shared) throw new RangeError("could not allocate memory");
    return new Memory(options);
  };
`);

const GLUE = (build) => `/tablm/wasm/${build}/tablm.js`;
const WASM = (build) => `/tablm/wasm/${build}/tablm_bg.wasm`;

describe("the engine's builds", () => {
  let harness;
  const routes = {};
  before(async () => {
    harness = await openHarness({ adapter: false, isolated: true, routes });
  });
  after(() => harness?.close());

  /** Loads the model and returns the build in use and the ids of its answer. */
  const load = (options) =>
    harness.run(
      async ({ TabLM }, [url, options, request]) => {
        const defaults = { device: "cpu", threads: 2, contextLength: 256 };
        const model = await TabLM.load(url, { ...defaults, ...options });
        const { token_ids } = await model.chat.completions.create(request);
        const { build } = model.info;
        await model.dispose();
        return { build, token_ids };
      },
      [MODEL, options, { ...goldenRequest(prompt), max_completion_tokens: ids.length }],
    );

  // Condition, faulty files, options, and the build that runs. Without a fault it is `threads`.
  for (const [condition, faults, options, build] of [
    ["the glue of threads is missing", { [GLUE("threads")]: MISSING }, {}, "relaxed"],
    [
      "the host sends HTML for the glue of the others",
      { [GLUE("threads")]: HTML_PAGE, [GLUE("relaxed")]: HTML_PAGE },
      {},
      "simd",
    ],
    [
      "the host has no wasm of the others",
      { [WASM("threads")]: MISSING, [WASM("relaxed")]: HTML_PAGE },
      {},
      "simd",
    ],
    [
      "the wasm of the others does not compile",
      { [WASM("threads")]: INVALID, [WASM("relaxed")]: TRUNCATED },
      {},
      "simd",
    ],
    [
      "shared memory cannot be allocated",
      { "/without/worker.js": WITHOUT_SHARED_MEMORY },
      { workerUrl: "/without/worker.js" },
      "relaxed",
    ],
    [
      "a load with one thread finds no other build",
      { [WASM("relaxed")]: MISSING, [GLUE("simd")]: MISSING },
      { threads: 1 },
      "threads",
    ],
    ["the URL given for it is wrong", {}, { wasmUrl: { threads: "/none.wasm" } }, "threads"],
    [
      "only its given URL is right",
      {},
      { wasmUrl: { threads: "/none.wasm", simd: WASM("simd") } },
      "simd",
    ],
    ["the URL given for all is wrong", {}, { wasmUrl: "/none.wasm" }, "threads"],
  ]) {
    test(`${build} runs if ${condition}`, async () => {
      Object.assign(routes, faults);
      try {
        assert.deepEqual(await load(options), { build, token_ids: ids });
      } finally {
        for (const path of Object.keys(faults)) delete routes[path];
      }
    });
  }

  test("the error names the best build if none is available", async () => {
    const all = ["threads", "relaxed", "simd"].map(WASM);
    for (const path of all) routes[path] = MISSING;
    const refused = await harness.run(
      ({ TabLM }, url) => TabLM.load(url).catch(({ code, message }) => [code, message]),
      MODEL,
    );
    assert.equal(refused[0], "network");
    assert.match(
      refused[1],
      /could not load the wasm module \(.*404.*\/wasm\/threads\/tablm_bg\.wasm/,
    );
    for (const path of all) delete routes[path];
    assert.deepEqual(await load({}), { build: "threads", token_ids: ids });
  });
});
