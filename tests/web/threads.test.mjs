// Threads in the browser: answers do not depend on their number, only isolated pages have them, and
// they end with their model.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { modelName, openBrowser, openHarness, openPage, openServer, readJson } from "./support.mjs";

const MODEL = `/models/${modelName}`;
const golden = readJson("tests", "data", "golden", "smollm2.json");
const [prompt] = golden.prompts;
const { gen_ids: ids } = golden.hf_f32.prompts[prompt.id];

/** A worker that does no work as a thread, and throws when it is told to. */
const FAILING = `
  import "/tablm/worker.js";
  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = async (module, imports) => {
    const { exports } = await instantiate(module, imports);
    const fail = () => { throw new WebAssembly.RuntimeError("unreachable"); };
    const lendThread = () => void (new BroadcastChannel("fail").onmessage = fail);
    return { instance: { exports: { ...exports, lendThread } }, module };
  };
  globalThis.close = () => undefined;
`;

/** Returns the builds whose wasm was requested since the last call. */
function requestedBuilds({ requests }) {
  const builds = requests
    .splice(0)
    .map(({ url }) => /\/wasm\/(\w+)\/tablm_bg\.wasm$/.exec(url)?.[1]);
  return [...new Set(builds.filter(Boolean))];
}

/** Waits until a page has that many workers. */
async function untilWorkers(page, count) {
  for (let tries = 0; page.workers().length !== count; tries += 1) {
    assert.ok(tries < 100, `found ${page.workers().length} workers, expected ${count}`);
    await page.waitForTimeout(50);
  }
}

/** Loads the default model and returns its answer, build and device. */
const answer = (harness, options, request) =>
  harness.run(
    async ({ TabLM }, [url, options, request]) => {
      window.model = await TabLM.load(url, options);
      const { token_ids } = await window.model.chat.completions.create(request);
      return { token_ids, build: window.model.info.build, device: window.model.info.device };
    },
    [MODEL, options, request],
  );

const request = { messages: prompt.messages, temperature: 0, max_completion_tokens: ids.length };

describe("an isolated page", () => {
  let harness;
  before(async () => {
    const failing = (request, response) =>
      response
        .writeHead(200, {
          "Content-Type": "text/javascript",
          "Cross-Origin-Embedder-Policy": "require-corp",
        })
        .end(FAILING);
    harness = await openHarness({
      adapter: false,
      isolated: true,
      routes: { "/failing/worker.js": failing },
    });
  });
  after(() => harness?.close());

  test("uses the requested number of threads, and ends them with the model", async () => {
    const found = await answer(harness, { device: "cpu", threads: 3 }, request);
    assert.deepEqual([found.build, found.device.threads, found.token_ids], ["threads", 3, ids]);
    assert.deepEqual(requestedBuilds(harness.server), ["threads"]);
    await untilWorkers(harness.page, 3);
    await harness.run(() => window.model.dispose());
    await untilWorkers(harness.page, 0);
  });

  test("has no further threads if one is requested", async () => {
    const found = await answer(harness, { device: "cpu", threads: 1 }, request);
    assert.deepEqual([found.build, found.device.threads, found.token_ids], ["relaxed", 1, ids]);
    await untilWorkers(harness.page, 1);
    await harness.run(() => window.model.dispose());
  });

  test("ends the engine with an error if a thread fails", async () => {
    const found = await harness.run(async ({ TabLM }, url) => {
      const model = await TabLM.load(url, {
        device: "cpu",
        threads: 2,
        workerUrl: "/failing/worker.js",
      });
      const request = {
        messages: [{ role: "user", content: "Count from one to one thousand." }],
        max_completion_tokens: 2000,
      };
      const fail = () => new BroadcastChannel("fail").postMessage(null);
      const ask = async () => {
        for await (const chunk of await model.chat.completions.create({ ...request, stream: true }))
          if (chunk.choices.length > 0) fail();
      };
      const refused = ({ code, message }) => [code, message];
      return [await ask().catch(refused), await ask().catch(refused)];
    }, MODEL);
    const failure = ["internal", "the worker failed: Uncaught RuntimeError: unreachable"];
    assert.deepEqual(found, [failure, failure]);
    await untilWorkers(harness.page, 0);
  });

  test("rejects an invalid number of threads", async () => {
    const found = await harness.run(
      ({ TabLM }, url) =>
        TabLM.load(url, { threads: 0 }).catch(({ code, message }) => [code, message]),
      MODEL,
    );
    assert.deepEqual(found, [
      "invalid-request",
      "threads: found 0, expected an integer from 1 to 256",
    ]);
  });
});

// Static file hosts do not send the isolation headers; the service worker adds them.
test("the page is isolated from its second visit on", async () => {
  const server = await openServer({ isolated: false });
  const browser = await openBrowser({ adapter: false });
  try {
    const address = `${server.address}/?model=none.gguf`;
    const { page } = await openPage(browser.context, address);
    assert.equal(await page.evaluate(() => crossOriginIsolated), false);
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.reload();
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  } finally {
    await browser.close();
    await server.close();
  }
});
