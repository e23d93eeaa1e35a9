// A worker that does not respond is terminated and replaced, a worker whose engine trapped reports
// that, and endless responses of a server are refused. The workers are the built ones, with an
// endless loop or a small stack added.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { constantModelRoute } from "./constant_model.mjs";
import {
  chat,
  expectWorkers,
  openBrowser,
  openHarness,
  openPage,
  openServer,
  responseRoute,
  scriptRoute,
  waitUntilReady,
} from "./support.mjs";

/**
 * Returns a worker script that loops forever in calls with the word "forever" in their parameters,
 * and in calls of the method in its query, `?busy=METHOD`.
 */
const busyScript = (worker) => `
  addEventListener("message", ({ data }) => {
    if (data.type === "call" && (JSON.stringify(data.params) ?? "").includes("forever")) for (;;);
    const method = new URL(import.meta.url).searchParams.get("busy");
    if (data.type === "call" && data.method === method) for (;;);
  });
  import "${worker}";
`;

/**
 * Runs before the worker's script: gives a request with "deep N" in its parameters a stack with
 * space for only N function calls.
 */
const SMALL_STACK = `
  const { addEventListener: add } = globalThis;
  globalThis.addEventListener = (type, listener) => add(type, (event) => {
    const deep = /deep (\\d+)/.exec(JSON.stringify(event.data?.params) ?? "");
    if (type !== "message" || !deep) return listener(event);
    let space = Number(deep[1]);
    const descend = () => {
      try {
        descend();
      } catch (error) {
        space -= 1;
        if (space !== 0) throw error;
        listener(event);
      }
    };
    descend();
  });
`;

/** A template that needs more stack than the package's JavaScript. */
const RECURSIVE =
  "{% macro down(n) %}{% if n > 0 %}{{ down(n - 1) }}{% else %}a{% endif %}{% endmacro %}" +
  "{{ down(12) }}";

/** Serves an endless JSON file. */
function endless(request, response) {
  response.writeHead(200, { "Content-Type": "application/json" });
  if (request.method === "HEAD") return response.end();
  const spaces = Buffer.alloc(1 << 20, " ");
  const more = () => {
    while (!response.destroyed && response.write(spaces));
  };
  response.on("drain", more);
  response.write("{");
  more();
}

describe("a worker", () => {
  let harness;
  before(async () => {
    const routes = {
      "/busy.js": scriptRoute(busyScript("/tablm/worker.js")),
      "/deep.js": scriptRoute('import "/small_stack.js"; import "/tablm/worker.js";'),
      "/small_stack.js": scriptRoute(SMALL_STACK),
      "/hi.gguf": constantModelRoute("Hi "),
      "/recursive.gguf": constantModelRoute("Hi ", RECURSIVE),
      "/config/model.safetensors.index.json": responseRoute(404, {}),
      "/config/config.json": endless,
      "/index/model.safetensors.index.json": endless,
    };
    harness = await openHarness({ adapter: false, routes });
    await harness.run(() => {
      window.ask = async (model, content, options) => {
        try {
          const answer = await model.chat.completions.create(
            { messages: [{ role: "user", content }], temperature: 0, max_completion_tokens: 2 },
            options,
          );
          return answer.choices[0].message.content;
        } catch ({ code, message }) {
          return `${code}: ${message}`;
        }
      };
    });
  });
  after(() => harness?.close());

  test("is replaced if it does not stop an answer, and the model continues", async (t) => {
    const found = await harness.run(async ({ TabLM }) => {
      const model = (window.model = await TabLM.load("/hi.gguf", { workerUrl: "/busy.js" }));
      const answers = [await window.ask(model, "a")];
      const start = performance.now();
      answers.push(await window.ask(model, "forever", { signal: AbortSignal.timeout(200) }));
      const times = [performance.now() - start];
      // Aborting a request that waits for the busy worker does not affect other requests.
      const impatient = window.ask(model, "b", { signal: AbortSignal.timeout(100) });
      answers.push(await window.ask(model, "c"), await impatient, await window.ask(model, "d"));
      times.push(performance.now() - start);
      return { answers, times, warnings: model.info.warnings };
    });
    t.diagnostic(found.times.map((ms) => `${ms.toFixed(0)} ms`).join(", "));
    const aborted = "aborted: aborted by the caller";
    assert.deepEqual(found.answers, ["Hi Hi ", aborted, "Hi Hi ", aborted, "Hi Hi "]);
    assert.ok(found.times[0] < 1500 && found.times[1] < 20_000, `${found.times}`);
    assert.deepEqual(found.warnings, [
      "aborted: aborted by the caller; the worker did not stop within 10 s and was ended; " +
        "the model was loaded again",
    ]);
    await expectWorkers(harness.page, 1, 2000);
  });

  test("is terminated by dispose if it does not stop, and not replaced", async () => {
    const found = await harness.run(async () => {
      const start = performance.now();
      const busy = window.ask(window.model, "forever");
      await new Promise((resolve) => setTimeout(resolve, 300));
      await window.model.dispose();
      return {
        busy: await busy,
        later: await window.ask(window.model, "a"),
        ms: performance.now() - start,
      };
    });
    assert.match(found.busy, /^disposed: /);
    assert.match(found.later, /^disposed: /);
    assert.ok(found.ms < 3000, `${found.ms}`);
    await expectWorkers(harness.page, 0, 2000);
  });

  test("is terminated if a method does not stop after an abort", async () => {
    const found = await harness.run(async ({ TabLM }) => {
      const id = "0123456789abcdef";
      const calls = {
        load: (options) => TabLM.load("/hi.gguf", options),
        estimate: (options) => TabLM.estimate("/hi.gguf", options),
        capabilities: (options) => TabLM.capabilities(options),
        listModels: (options) => TabLM.models.list(options),
        verifyModel: (options) => TabLM.models.verify(id, options),
        deleteModel: (options) => TabLM.models.delete(id, options),
      };
      const start = performance.now();
      const ended = Object.entries(calls).map(async ([method, call]) => {
        const { code } = await call({
          workerUrl: `/busy.js?busy=${method}`,
          signal: AbortSignal.timeout(500),
        }).catch((error) => error);
        return `${method} ${code} ${performance.now() - start < 1500 ? "at once" : "late"}`;
      });
      return Promise.all(ended);
    });
    const methods = [
      "load",
      "estimate",
      "capabilities",
      "listModels",
      "verifyModel",
      "deleteModel",
    ];
    assert.deepEqual(
      found,
      methods.map((method) => `${method} aborted at once`),
    );
    assert.equal(harness.page.workers().length, methods.length);
    await expectWorkers(harness.page, 0, 10_000);
  });

  test("reports a stack overflow of the engine, and refuses all later requests", async (t) => {
    const pairs = await harness.run(async ({ TabLM }) => {
      const pairs = [];
      for (let space = 8; space <= 4096; space *= 1.5) {
        const model = await TabLM.load("/recursive.gguf", { workerUrl: "/deep.js", threads: 1 });
        // Compiles all functions, which takes more stack than running them.
        await window.ask(model, "a");
        pairs.push([
          await window.ask(model, `deep ${Math.round(space)}`),
          await window.ask(model, "b"),
        ]);
        await model.dispose();
      }
      return pairs;
    });
    t.diagnostic(JSON.stringify(pairs));
    // A stack overflow in the engine is a trap; elsewhere the worker itself may fail, and the next
    // request gets another worker.
    const stopped = /^internal: the engine has crashed \(.+\); load the model again$/;
    assert.ok(
      pairs.some(
        ([deep, next]) =>
          deep === "internal: Maximum call stack size exceeded" && stopped.test(next),
      ),
      "found no stack overflow in the engine, expected one",
    );
    for (const [deep, next] of pairs) {
      assert.match(deep, /^(Hi Hi |internal: .*Maximum call stack size exceeded)$/);
      assert.ok(next === "Hi Hi " || stopped.test(next), next);
    }
  });

  for (const name of ["config", "index"]) {
    test(`refuses an endless file: ${name}`, async () => {
      const found = await harness.run(async ({ TabLM }, name) => {
        const errors = [];
        for (const call of [TabLM.estimate, TabLM.load])
          errors.push(await call(`/${name}`).catch(({ code, message }) => `${code}: ${message}`));
        return errors;
      }, name);
      for (const error of found)
        assert.match(String(error), /^malformed: \S+\.json: found more than 67108864 bytes/);
      await expectWorkers(harness.page, 0, 3000);
    });
  }
});

test("the chat page continues after an answer that its worker did not stop", async (t) => {
  const model = constantModelRoute("Hi ");
  const server = await openServer({
    before(request, response) {
      const { url } = request;
      if (url === "/hi.gguf") model(request, response);
      else if (url.endsWith("/tablm/worker.js"))
        scriptRoute(busyScript(`${url}?built`))(request, response);
      else return false;
      return true;
    },
  });
  // A service worker would serve the same file for both workers.
  const browser = await openBrowser({ adapter: false, serviceWorkers: "block" });
  try {
    const { page, expectQuiet } = await openPage(
      browser.context,
      `${server.address}/?model=/hi.gguf&max_tokens=3`,
    );
    await page.click("#link button[value=use]");
    await waitUntilReady(page);
    await page.fill("#prompt", "Go on forever");
    await page.keyboard.press("Enter");
    await page.waitForSelector("body[data-state=answering]");
    await page.waitForTimeout(300);
    await page.click("#stop");
    await page.waitForSelector("body[data-state=ready]", { timeout: 2000 });
    await page.click("#new-chat");
    const start = Date.now();
    assert.equal((await chat(page, "a")).text, "Hi Hi Hi ");
    t.diagnostic(`${Date.now() - start} ms until the next answer`);
    await page.waitForSelector("body[data-state=ready]");
    assert.equal(await page.isVisible("#loading"), false);
    assert.equal((await chat(page, "b")).text, "Hi Hi Hi ");
    expectQuiet();
  } finally {
    await browser.close();
    await server.close();
  }
});
