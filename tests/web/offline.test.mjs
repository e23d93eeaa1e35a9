// The page without a network, and updates to new versions, on plain static file servers.

import assert from "node:assert/strict";
import {
  appendFileSync,
  cpSync,
  createReadStream,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { buildSite } from "../../www/build.mjs";
import { isolation } from "../../www/security_headers.mjs";
import {
  chat,
  modelName,
  modelPath,
  nativeAnswer,
  openBrowser,
  openPage,
  readText,
  requestedBuilds,
  root,
  waitUntilReady,
} from "./support.mjs";

const MAX_TOKENS = 6;
const QUESTION = "What is the capital of France?";
const settings = `?temperature=0&seed=1&max_tokens=${MAX_TOKENS}`;
const LONG_CACHE = { "Cache-Control": "max-age=31536000" };
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

const folder = mkdtempSync(join(tmpdir(), "tablm-sites-"));
/** Sites of three versions; the package reports its version in the page and in the worker. */
const sites = Object.fromEntries(
  ["one", "two", "three"].map((version) => [version, join(folder, version)]),
);
let expected;
before(async () => {
  for (const [version, out] of Object.entries(sites)) {
    const packageFolder = join(folder, `package-${version}`);
    cpSync(join(root, "pkg", "dist"), packageFolder, { recursive: true });
    appendFileSync(join(packageFolder, "index.js"), `globalThis.versionOfTest = "${version}";\n`);
    appendFileSync(
      join(packageFolder, "worker.js"),
      `new BroadcastChannel("version of test").postMessage("${version}");\n`,
    );
    await buildSite({ out, packageFolder });
  }
  expected = nativeAnswer([{ role: "user", content: QUESTION }], MAX_TOKENS, modelPath, "cpu").text;
});
after(() => rmSync(folder, { recursive: true, force: true }));

const versionFolder = (site) => readdirSync(site).find((name) => /^[0-9a-f]{16}$/.test(name));

/** Makes a site in the former layout, without version folders, with the service worker it had. */
function formerSite() {
  const [site, version] = [join(folder, "former"), versionFolder(sites.one)];
  cpSync(sites.one, site, { recursive: true });
  cpSync(join(site, version), site, { recursive: true });
  rmSync(join(site, version), { recursive: true });
  writeFileSync(
    join(site, "index.html"),
    readFileSync(join(site, "index.html"), "utf8").replaceAll(/[0-9a-f]{16}\//g, ""),
  );
  const shell = [
    "icon.svg",
    "index.html",
    "main.js",
    "manifest.webmanifest",
    "style.css",
    "tablm/index.js",
    "tablm/worker.js",
  ];
  const files = (build) => [`tablm/wasm/${build}/tablm.js`, `tablm/wasm/${build}/tablm_bg.wasm`];
  const lists = {
    SHELL: shell,
    BUILDS: Object.fromEntries(
      ["simd", "relaxed", "threads"].map((build) => [build, files(build)]),
    ),
    VERSION: version,
    ISOLATION: isolation,
  };
  const constants = Object.entries(lists).map(
    ([name, value]) => `const ${name} = ${JSON.stringify(value)};\n`,
  );
  writeFileSync(join(site, "sw.js"), constants.join("") + readText("tests", "web", "former_sw.js"));
  return site;
}

/**
 * Opens a static file server. `mounts` maps paths to folders and may change; `headers` are sent
 * with every file. `replace` may return the path of another file to send for a name; while
 * `silent`, requests get no response.
 */
async function openHost({ mounts, headers = {} }) {
  const host = { mounts, requests: [], replace: () => undefined, silent: false };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    host.requests.push(pathname);
    if (host.silent) return;
    const mount = Object.keys(host.mounts).find((mount) => pathname.startsWith(mount));
    const name = pathname.slice(mount?.length) || "index.html";
    const file =
      name === `models/${modelName}`
        ? modelPath
        : (host.replace(name) ?? join(host.mounts[mount] ?? folder, name));
    const found = statSync(file, { throwIfNoEntry: false });
    if (!found?.isFile()) return response.writeHead(404).end();
    response.writeHead(200, {
      "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
      "Content-Length": found.size,
      ...headers,
    });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  host.address = `http://127.0.0.1:${server.address().port}`;
  /** Stops the server, as if the network were off. */
  host.close = () =>
    new Promise((resolve) => (server.close(() => resolve()), server.closeAllConnections()));
  return host;
}

/** Runs a test with a host and a browser. */
async function withHost(options, job) {
  const host = await openHost(options);
  const browser = await openBrowser({ adapter: false });
  /** Opens the page in a new tab and waits until it is ready. */
  const visit = async (path = "/") => {
    const { page } = await openPage(browser.context, `${host.address}${path}${settings}`);
    await waitUntilReady(page);
    return page;
  };
  try {
    await job({ host, visit, context: browser.context });
  } finally {
    await browser.close();
    await host.close();
  }
}

const answer = async (page) => (await chat(page, QUESTION)).text;

/** Returns the versions of the page's script and of a worker that it starts now. */
const versionsOf = (page) =>
  page.evaluate(async () => {
    const { TabLM } = await import(
      new URL("tablm/index.js", document.querySelector("script[type=module]").src)
    );
    const worker = new Promise(
      (resolve) =>
        (new BroadcastChannel("version of test").onmessage = ({ data }) => resolve(data)),
    );
    await TabLM.capabilities();
    return { page: globalThis.versionOfTest, worker: await worker };
  });

/** Makes the browser check for an update; returns true if one was installed. */
const update = (page) =>
  page.evaluate(async () => {
    const registration = await navigator.serviceWorker.ready;
    const found = new Promise((resolve) =>
      registration.addEventListener("updatefound", () => resolve(registration.installing), {
        once: true,
      }),
    );
    await registration.update();
    const worker = await found;
    while (worker.state === "installing")
      await new Promise((resolve) =>
        worker.addEventListener("statechange", resolve, { once: true }),
      );
    return worker.state !== "redundant";
  });

describe("without a network", () => {
  for (const [host, headers, firstBuild] of [
    ["without headers", {}, "relaxed"],
    ["with headers", isolation, "threads"],
  ]) {
    test(`later visits work after the first answer, on a host ${host}`, () =>
      withHost({ mounts: { "/": sites.one }, headers }, async ({ host, visit }) => {
        let page = await visit();
        assert.equal(await answer(page), expected);
        await host.close();
        assert.deepEqual(requestedBuilds(host.requests), [firstBuild]);
        for (let visits = 2; visits <= 3; visits += 1) {
          await page.close();
          page = await visit();
          assert.equal(await page.evaluate(() => crossOriginIsolated), true);
          assert.equal(await answer(page), expected);
        }
      }));
  }

  test("a second visit that runs threads caches their build for the third", () =>
    withHost({ mounts: { "/": sites.one } }, async ({ host, visit }) => {
      await (await visit()).close();
      await answer(await visit());
      assert.deepEqual(requestedBuilds(host.requests), ["relaxed", "threads"]);
      await host.close();
      const page = await visit();
      assert.match(await page.textContent("#device"), /threads/);
      assert.equal(await answer(page), expected);
    }));

  test("a host that never responds does not block the second visit", () =>
    withHost({ mounts: { "/": sites.one } }, async ({ host, visit }) => {
      assert.equal(await answer(await visit()), expected);
      host.silent = true;
      assert.equal(await answer(await visit()), expected);
      assert.ok(
        host.requests.some((path) => path.includes("/wasm/threads/")),
        String(host.requests),
      );
    }));

  test("a page in a folder fetches each of its files once, on a host with long cache times", () =>
    withHost(
      { mounts: { "/some/where/": sites.one }, headers: LONG_CACHE },
      async ({ host, visit }) => {
        const page = await visit("/some/where/");
        assert.equal(await answer(page), expected);
        await host.close();
        const files = host.requests.filter(
          (path) => !/index\.html|\/$|models\/|sw\.js|icon|manifest/.test(path),
        );
        assert.deepEqual(files.sort(), [...new Set(files)].sort());
        for (let visits = 2; visits <= 3; visits += 1)
          assert.equal(await answer(await visit("/some/where/")), expected);
      },
    ));

  test("a load with one thread uses the cached build with threads while offline", () =>
    withHost({ mounts: { "/": sites.one }, headers: isolation }, async ({ host, visit }) => {
      await answer(await visit());
      assert.deepEqual(requestedBuilds(host.requests), ["threads"]);
      await host.close();
      const page = await visit();
      const found = await page.evaluate(async () => {
        const { TabLM } = await import(
          new URL("tablm/index.js", document.querySelector("script[type=module]").src)
        );
        const model = await TabLM.load(
          new URL("models/SmolLM2-135M-Instruct.Q4_1.gguf", document.baseURI).href,
          { device: "cpu", threads: 1 },
        );
        return [model.info.build, model.info.device.threads];
      });
      assert.deepEqual(found, ["threads", 1]);
    }));
});

describe("versions", () => {
  test("an open page keeps its version through an update; the next load has the new one", () =>
    withHost(
      { mounts: { "/": sites.one }, headers: LONG_CACHE },
      async ({ host, visit, context }) => {
        const [page, other] = [await visit(), await visit()];
        host.mounts = { "/": sites.two };
        assert.equal(await update(page), true);
        assert.deepEqual(await versionsOf(page), { page: "one", worker: "one" });
        await host.close();
        assert.deepEqual(await versionsOf(page), { page: "one", worker: "one" });
        assert.equal(await answer(page), expected);
        await page.reload();
        await waitUntilReady(page);
        assert.deepEqual(await versionsOf(page), { page: "two", worker: "two" });
        assert.equal(await answer(page), expected);
        assert.deepEqual(await versionsOf(other), { page: "one", worker: "one" });
        // Once no page uses the old version, it is deleted.
        const blank = await context.newPage();
        await page.close();
        await other.close();
        await blank.goto("about:blank");
        const next = await visit();
        assert.deepEqual(await versionsOf(next), { page: "two", worker: "two" });
        await next.waitForFunction(
          async () =>
            new Set(
              (await (await caches.open((await caches.keys())[0])).keys())
                .map(({ url }) => /\/([0-9a-f]{16})\//.exec(url)?.[1])
                .filter(Boolean),
            ).size === 1,
        );
      },
    ));

  test("an update to an earlier version works like any other", () =>
    withHost({ mounts: { "/": sites.one } }, async ({ host, visit }) => {
      const page = await visit();
      for (const version of ["two", "one", "three", "two"]) {
        host.mounts = { "/": sites[version] };
        assert.equal(await update(page), true);
        const next = await visit();
        assert.deepEqual(await versionsOf(next), { page: version, worker: version });
        await next.close();
      }
      assert.deepEqual(await versionsOf(page), { page: "one", worker: "one" });
    }));

  for (const file of ["index.html", "tablm/worker.js", "tablm/index.js"]) {
    test(`an update refetches an old ${file}, and is abandoned if the host sends no other`, () =>
      withHost({ mounts: { "/": sites.one } }, async ({ host, visit }) => {
        const page = await visit();
        const oldFolder = file === "index.html" ? "" : versionFolder(sites.one);
        const old = join(sites.one, oldFolder, file);
        const sendOld = (times) => (name) => (name.endsWith(file) && times-- > 0 ? old : undefined);
        host.mounts = { "/": sites.two };
        host.replace = sendOld(1);
        assert.equal(await update(page), true);
        host.mounts = { "/": sites.three };
        host.replace = sendOld(Infinity);
        assert.equal(await update(page), false);
        await host.close();
        await page.reload();
        await waitUntilReady(page);
        assert.deepEqual(await versionsOf(page), { page: "two", worker: "two" });
      }));
  }

  test("two deployments on one origin do not affect each other", () =>
    withHost(
      { mounts: { "/a/": sites.one, "/b/": sites.two }, headers: isolation },
      async ({ host, visit }) => {
        for (const path of ["/a/", "/b/"]) await (await visit(path)).close();
        host.mounts = { "/a/": sites.three, "/b/": sites.two };
        const page = await visit("/a/");
        assert.equal(await update(page), true);
        await page.close();
        await (await visit("/a/")).close();
        await host.close();
        for (const [path, version] of [
          ["/a/", "three"],
          ["/b/", "two"],
        ]) {
          const page = await visit(path);
          assert.deepEqual(await versionsOf(page), { page: version, worker: version });
          assert.equal(await answer(page), expected);
        }
      },
    ));

  test("an update from the former layout keeps open pages working, then deletes old caches", () =>
    withHost({ mounts: { "/": formerSite() } }, async ({ host, visit }) => {
      const page = await visit();
      assert.equal(await answer(page), expected);
      await page.waitForFunction(() => caches.match("tablm/wasm/relaxed/tablm_bg.wasm"));
      host.mounts = { "/": sites.two };
      assert.equal(await update(page), true);
      await page.evaluate(() => navigator.serviceWorker.ready);
      await host.close();
      assert.deepEqual(await versionsOf(page), { page: "one", worker: "one" });
      await page.reload();
      await waitUntilReady(page);
      assert.deepEqual(await versionsOf(page), { page: "two", worker: "two" });
      assert.equal(await answer(page), expected);
      await page.goto("about:blank");
      const next = await visit();
      assert.equal(await answer(next), expected);
      await next.waitForFunction(async () => (await caches.keys()).length === 1);
      assert.deepEqual(await next.evaluate(() => caches.keys()), [`tablm-page ${host.address}/`]);
    }));

  test("caches of the former layout are deleted for this deployment only", () =>
    withHost({ mounts: { "/a/": sites.one } }, async ({ host, visit, context }) => {
      const blank = await context.newPage();
      await blank.goto(`${host.address}/a/icon.svg`);
      await blank.evaluate(async () => {
        const store = async (name, files) => {
          const cache = await caches.open(name);
          for (const file of files) await cache.put(file, new Response("old"));
        };
        const files = [
          "index.html",
          "main.js",
          "tablm/worker.js",
          "tablm/wasm/simd/tablm_bg.wasm",
        ].map((file) => `/a/${file}`);
        await store("tablm-shell-0123456789abcdef", files);
        await store("tablm-shell-fedcba9876543210", [
          ...files,
          "/b/index.html",
          "/index.html",
          "/a/tablm/index.html",
        ]);
        await store("of-another-app", ["/a/index.html"]);
      });
      await blank.goto("about:blank");
      await (await visit("/a/")).close();
      const page = await visit("/a/");
      await page.waitForFunction(async () => !(await caches.has("tablm-shell-0123456789abcdef")));
      const left = await page.evaluate(async () => {
        const urls = async (name) =>
          (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname);
        const names = (await caches.keys()).sort();
        return { names, urls: (await Promise.all(names.map(urls))).map((paths) => paths.sort()) };
      });
      assert.deepEqual(left.names, [
        "of-another-app",
        `tablm-page ${host.address}/a/`,
        "tablm-shell-fedcba9876543210",
      ]);
      assert.deepEqual(
        [left.urls[0], left.urls[2]],
        [["/a/index.html"], ["/a/tablm/index.html", "/b/index.html", "/index.html"]],
      );
      assert.ok(left.urls[1].some((path) => path.endsWith("/tablm/wasm/simd/tablm_bg.wasm")));
    }));
});
