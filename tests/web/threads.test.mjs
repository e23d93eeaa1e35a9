// Threads in the browser: answers do not depend on their number, only isolated pages have them, and
// disposing the model ends them.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { golden, goldenRequest, MODEL } from "./golden.mjs";
import {
  expectWorkers,
  openBrowser,
  openHarness,
  openPage,
  openServer,
  requestedBuilds,
  scriptRoute,
} from "./support.mjs";

const [prompt] = golden.prompts;
const { gen_ids: ids } = golden.hf_f32.prompts[prompt.id];
const request = goldenRequest(prompt);
/** Time for threads to start or end. */
const MAX_WAIT_MS = 5000;

/** A worker script whose threads do no work, and throw on a broadcast message. */
const FAILING = `
  import "/tablm/worker.js";
  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = async (module, imports) => {
    const { exports } = await instantiate(module, imports);
    const fail = () => { throw new WebAssembly.RuntimeError("unreachable"); };
    const runThread = () => void (new BroadcastChannel("fail").onmessage = fail);
    return { instance: { exports: { ...exports, runThread } }, module };
  };
  globalThis.close = () => undefined;
`;

/** Loads the default model as `window.model`, and returns its answer, build and device. */
const answer = (harness, options) =>
  harness.run(
    async ({ TabLM }, [url, options, request]) => {
      window.model = await TabLM.load(url, options);
      const { token_ids } = await window.model.chat.completions.create(request);
      return { token_ids, build: window.model.info.build, device: window.model.info.device };
    },
    [MODEL, options, request],
  );

describe("an isolated page", () => {
  let harness;
  before(async () => {
    const routes = { "/failing/worker.js": scriptRoute(FAILING) };
    harness = await openHarness({ adapter: false, isolated: true, routes });
  });
  after(() => harness?.close());

  test("uses the requested number of threads, and ends them with the model", async () => {
    const found = await answer(harness, { device: "cpu", threads: 3 });
    assert.deepEqual([found.build, found.device.threads, found.token_ids], ["threads", 3, ids]);
    assert.deepEqual(requestedBuilds(harness.server.requests.map(({ url }) => url)), ["threads"]);
    await expectWorkers(harness.page, 3, MAX_WAIT_MS);
    await harness.run(() => window.model.dispose());
    await expectWorkers(harness.page, 0, MAX_WAIT_MS);
  });

  test("starts no further worker if one thread is requested", async () => {
    const found = await answer(harness, { device: "cpu", threads: 1 });
    assert.deepEqual([found.build, found.device.threads, found.token_ids], ["relaxed", 1, ids]);
    await expectWorkers(harness.page, 1, MAX_WAIT_MS);
    await harness.run(() => window.model.dispose());
  });

  test("rejects requests and ends all workers if a thread fails", async () => {
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
    await expectWorkers(harness.page, 0, MAX_WAIT_MS);
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
