// The chat page from the first visit to an answer: on the GPU, on the CPU, offline, and its layout.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  allowNoGpu,
  chat,
  derivedRoutes,
  modelName,
  modelWithTemplate,
  nativeAnswer,
  openBrowser,
  openPage,
  openServer,
  readJson,
  requestedBuilds,
  waitUntilReady,
} from "./support.mjs";

const MAX_TOKENS = 24;
const QUESTION = "What is the capital of France?";
/** The build that the page runs: on the GPU it uses no threads. */
const BUILD = allowNoGpu ? "threads" : "relaxed";
const settings = `temperature=0&seed=1&max_tokens=${MAX_TOKENS}`;

/** Returns the native engine's answer to the question. */
const expected = (() => {
  let answer;
  return () => (answer ??= nativeAnswer([{ role: "user", content: QUESTION }], MAX_TOKENS));
})();

/** Returns the URLs that pages of an origin requested, from Chromium's network log. */
function requestedUrls(file, origin) {
  const text = readFileSync(file, "utf8").trimEnd();
  // A browser that is closed may not write the end of the log.
  const log = JSON.parse(text.endsWith("}") ? text : `${text.replace(/,$/, "")}]}`);
  const type = log.constants.logEventTypes.URL_REQUEST_START_JOB;
  // The browser's own requests (updates, sign-in) have no page as their initiator.
  const ofPage = ({ params }) =>
    params?.initiator?.startsWith(origin) || params?.url?.startsWith(origin);
  return log.events
    .filter((event) => event.type === type && ofPage(event))
    .map((event) => event.params.url);
}

describe("the page with an adapter", () => {
  const folder = mkdtempSync(join(tmpdir(), "tablm-netlog-"));
  const netLog = join(folder, "net.json");
  let server, browser, view;

  before(async () => {
    server = await openServer();
    browser = await openBrowser({ adapter: !allowNoGpu, args: [`--log-net-log=${netLog}`] });
    view = await openPage(
      browser.context,
      `${server.address}/?${settings}&device=${allowNoGpu ? "cpu" : "webgpu"}`,
    );
    await waitUntilReady(view.page);
    await view.page.evaluate(() => navigator.serviceWorker.ready);
    await view.page.waitForFunction(async (build) => {
      const cached = await Promise.all(
        (await caches.keys()).map(async (name) => (await caches.open(name)).keys()),
      );
      return cached.flat().some(({ url }) => url.endsWith(`tablm/wasm/${build}/tablm_bg.wasm`));
    }, BUILD);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("shows the model and the device in use", async (t) => {
    assert.match(await view.page.textContent("#model-name"), /SmolLM2-135M-Instruct/);
    const device = await view.page.textContent("#device");
    t.diagnostic(`device: ${device}`);
    assert.match(device, allowNoGpu ? /CPU/ : /WebGPU/);
  });

  test("streams the native answer without network requests", async () => {
    const count = server.requests.length;
    const { text, lengths } = await chat(view.page, QUESTION);
    assert.deepEqual(server.requests.slice(count), []);
    assert.equal(text, expected().text);
    assert.ok(
      lengths.length >= 3,
      `the answer grew in ${lengths.length} steps, expected at least 3`,
    );
    assert.match(await view.page.textContent("#speed"), /tokens\/s/);
    assert.equal(
      await view.page.textContent("#announcer"),
      await view.page.innerText(".message.assistant .body"),
    );
  });

  test("stops an answer, and answers afterwards", async () => {
    await view.page.click("#new-chat");
    await view.page.fill("#prompt", "Count from one to one thousand.");
    await view.page.keyboard.press("Enter");
    await view.page.waitForFunction(
      () => document.querySelector(".message.assistant .body")?.textContent.length > 0,
    );
    await view.page.keyboard.press("Escape");
    await view.page.waitForFunction(() => document.body.dataset.state === "ready");
    await view.page.click("#new-chat");
    assert.equal((await chat(view.page, QUESTION)).text, expected().text);
  });

  test("answers after a reload without the server", async () => {
    await server.close();
    await view.page.reload();
    await waitUntilReady(view.page);
    assert.equal((await chat(view.page, QUESTION)).text, expected().text);
  });

  test("reports no console error and no policy violation", () => view.expectQuiet());

  test("downloads only the build of the engine that the browser needs", () => {
    assert.deepEqual(requestedBuilds(server.requests.map(({ url }) => url)), [BUILD]);
  });

  test("contacts no other origin according to the browser's network log", async (t) => {
    await browser.close();
    const urls = requestedUrls(netLog, server.address);
    t.diagnostic(`${urls.length} requests in the log`);
    assert.ok(
      urls.some((url) => url.endsWith(`/${modelName}`)),
      "the log lacks the model",
    );
    assert.deepEqual(
      urls.filter((url) => !url.startsWith(server.address)),
      [],
    );
  });
});

const TINY = "tiny-Q4_K-256.gguf";
/** A template with which the model reasons, calls the clock, and answers after its result. */
const TOOL_CALL_TEMPLATE = `{% if tools %}{% endif %}{% for z in ['CET', 'UTC'] %}Q: clock in {{z}}?
<think>{{z}}</think>
<tool_call>{"name":"clock","arguments":{"time_zone":"{{z}}"}}</tool_call>
A: 12:00
{% endfor %}Q: {{messages[0].content}}
{% if messages|length > 1 %}A:{% elif enable_thinking %}<think>{% endif %}`;

describe("the page without an adapter", () => {
  let server, browser, view;
  before(async () => {
    const tiny = Object.values(derivedRoutes([TINY]))[0];
    const routes = {
      "/hub/some/one/resolve/main/tiny.gguf": tiny,
      "/calling.gguf": modelWithTemplate(TOOL_CALL_TEMPLATE),
    };
    server = await openServer({
      before(request, response) {
        const path = new URL(request.url, "http://localhost").pathname;
        routes[path]?.(request, response);
        return path in routes;
      },
    });
    browser = await openBrowser({ adapter: false });
    view = await openPage(browser.context, `${server.address}/?${settings}`);
    await waitUntilReady(view.page);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test("shows a notice that there is no adapter", async () => {
    assert.match(await view.page.textContent("#device"), /CPU/);
    assert.match(await view.page.textContent("#notice"), /no WebGPU adapter/);
    assert.ok(await view.page.isVisible("#notice"));
  });

  test("answers on the CPU with at least one token per second", async (t) => {
    const { text } = await chat(view.page, QUESTION);
    assert.equal(text, expected().text);
    const footer = await view.page.textContent(".message.assistant .footer");
    t.diagnostic(footer);
    const speed = Number(/([\d.]+) tokens\/s/.exec(footer)?.[1]);
    assert.ok(speed >= 1, `found ${speed} tokens/s, expected at least 1`);
  });

  test("shows the profile with Alt+P", async () => {
    const { page, expectQuiet } = await openPage(
      browser.context,
      `${server.address}/?model=/hub/some/one/resolve/main/tiny.gguf`,
    );
    await page.click("#link button[value=use]");
    await waitUntilReady(page);
    await page.keyboard.press("Alt+p");
    await page.waitForSelector("#profile-steps table");
    assert.match(
      await page.innerText("#profile-summary"),
      /^CPU.* copies at [\d.]+ GB\/s\. Times by the clock\.$/,
    );
    assert.deepEqual(
      (await page.locator("#profile caption").allInnerTexts()).map((text) =>
        text.replace(/: [\d.]+ ms$/, ""),
      ),
      ["One token at position 511", "64 tokens of a prompt"],
    );
    assert.match(
      await page.locator("#profile tbody").first().innerText(),
      /matvec [^\n]*Q4_K \d+×\d+/,
    );
    await page.keyboard.press("Escape");
    expectQuiet();
    await page.close();
  });

  test("lists models, estimates opened entries only, and loads other sources", async () => {
    const { page } = await openPage(browser.context, `${server.address}/?hub=/hub/&${settings}`);
    await page.click("#link button[value=use]");
    await waitUntilReady(page);
    const count = server.requests.length;
    await page.click("#open-models");
    const text = await page.innerText("#catalog");
    const names = readJson("pkg", "src", "catalog.json").map(({ name }) => name);
    for (const name of ["SmolLM2 135M", ...names]) assert.ok(text.includes(name), name);
    assert.deepEqual(server.requests.slice(count), []);
    await page.click("#catalog summary >> nth=1");
    const entry = page.locator("#catalog li").nth(1);
    assert.match(
      await entry.innerText(),
      /Nemotron 3 Nano[^]*2\.64 GiB[^]*about [\d.]+ GiB; (fits|may not fit)[^]*Q4_K_M[^]*License/,
    );
    for (let wait = 0; server.requests.length === count && wait < 1000; wait += 1)
      await page.waitForTimeout(20);
    assert.match(
      server.requests[count].url,
      /^\/hub\/nvidia\/NVIDIA-Nemotron-3-Nano-4B-GGUF\/resolve\/\w+\/\S+\.gguf$/,
    );
    for (const [typed, refusal] of [
      ["some model", /is not an address/],
      ["https://example.com/m.gguf", /not from example\.com/],
      ["hf:one", /not of the form/],
    ]) {
      await page.fill("#other-source", typed);
      await page.keyboard.press("Enter");
      assert.match(await page.innerText("#other-refusal"), refusal);
    }
    await page.fill("#other-source", "https://huggingface.co/some/one/blob/main/tiny.gguf");
    await page.keyboard.press("Enter");
    await waitUntilReady(page);
    assert.equal(await page.innerText("#model-name"), "tiny");
    await page.setInputFiles("#own-files", {
      name: "mine.gguf",
      mimeType: "",
      buffer: Buffer.from("GGUF, but not for long"),
    });
    await page.waitForSelector("#problem[data-code=malformed]:not([hidden])");
    await page.close();
  });

  test("folds reasoning and tool calls, and answers after the tool's result", async () => {
    const { page, expectQuiet } = await openPage(
      browser.context,
      `${server.address}/?model=/calling.gguf&context=512&temperature=0&max_tokens=32`,
    );
    await page.click("#link button[value=use]");
    await waitUntilReady(page);
    assert.equal(await page.isChecked("#thinking"), true);
    await chat(page, "clock in EST?");
    await page.waitForFunction(
      () =>
        document.body.dataset.state === "ready" &&
        document.querySelectorAll(".message.assistant[data-answer]").length === 2,
    );
    const [called, answered] = await page.locator(".message.assistant").all();
    assert.equal(
      await called
        .locator(".reasoning")
        .evaluate((details) => `${details.open} ${details.textContent}`),
      "false ThoughtsEST",
    );
    assert.match(
      await called.locator(".call").textContent(),
      /^Used clockclock\(\{"time_zone":"EST"\}\)\n→ .*\d\d:\d\d:\d\d/,
    );
    assert.notEqual(await answered.getAttribute("data-answer"), "");
    expectQuiet();
    await page.close();
  });

  test("reports no console error", () => view.expectQuiet());
});

describe("the page's layout", () => {
  let server;
  before(async () => {
    server = await openServer();
  });
  after(() => server?.close());

  for (const [width, height, colorScheme] of [
    [390, 844, "light"],
    [390, 844, "dark"],
    [1280, 800, "light"],
  ]) {
    test(`fits ${width} × ${height}, ${colorScheme}`, async () => {
      const browser = await openBrowser({ viewport: { width, height }, colorScheme });
      try {
        const { page } = await openPage(browser.context, server.address);
        await page.waitForSelector("#prompt");
        assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
        for (const id of ["#prompt", "#send", "#new-chat", "#open-settings"]) {
          const box = await page.locator(id).boundingBox();
          assert.ok(
            box && box.x >= 0 && box.x + box.width <= width && box.y + box.height <= height,
            `${id} is outside the window`,
          );
        }
      } finally {
        await browser.close();
      }
    });
  }

  test("is accessible by keyboard and screen reader", async () => {
    const browser = await openBrowser();
    try {
      const { page } = await openPage(browser.context, server.address);
      const unnamed = await page.evaluate(() =>
        [...document.querySelectorAll("button, textarea, input, progress, dialog")]
          .filter((item) => {
            const labels = [...(item.labels ?? [])].map((label) => label.textContent);
            const id = item.getAttribute("aria-labelledby");
            const referenced = id && document.getElementById(id)?.textContent;
            const names = [
              ...labels,
              referenced,
              item.textContent,
              item.getAttribute("aria-label"),
            ];
            return names.every((name) => !name?.trim());
          })
          .map((item) => item.id || item.outerHTML.slice(0, 80)),
      );
      assert.deepEqual(unnamed, []);
      assert.equal(await page.getAttribute("#announcer", "aria-live"), "polite");
      await page.focus("#prompt");
      await page.keyboard.press("Shift+Enter");
      assert.equal(await page.inputValue("#prompt"), "\n");
      await page.click("#open-settings");
      await page.keyboard.press("Escape");
      assert.equal(await page.evaluate(() => document.activeElement.id), "open-settings");
    } finally {
      await browser.close();
    }
  });
});
