// Downloads and the model store: stored models, refused files, and the codes of their errors.

import assert from "node:assert/strict";
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { headerPolicy } from "../../www/security_headers.mjs";
import {
  derived,
  fileRoute,
  modelName,
  modelPath,
  openHarness,
  openOrigin,
  tiny,
} from "./support.mjs";

const MODEL = `/models/${modelName}`;
const sizeBytes = statSync(modelPath).size;
const start = readFileSync(modelPath).subarray(0, 4 << 20);

const answer = (status, headers, body) => (request, response) => {
  response.writeHead(status, headers);
  response.end(request.method === "HEAD" ? undefined : body);
};

/** A model in three parts, as the Python package gguf writes it. */
const PARTS = [1, 2, 3].map((number) => tiny(`phi-parameters-0000${number}-of-00003.gguf`));
const partsBytes = PARTS.reduce((sum, path) => sum + statSync(path).size, 0);

/** Routes to a tiny safetensors folder whose server answers HEAD by `head`. */
function folderRoutes(folder, head, more = {}) {
  const names = ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"];
  const files = Object.fromEntries(
    names.map((name) => [name, fileRoute(tiny(`llama-tied/${name}`))]),
  );
  const guarded = (route) => (request, response) =>
    (request.method === "HEAD" ? head : route)(request, response);
  return Object.fromEntries(
    Object.entries({ ...files, ...more }).map(([name, route]) => [
      `${folder}/${name}`,
      guarded(route),
    ]),
  );
}

/** A valid file, slow enough to abort its download. */
function slow(request, response) {
  response.writeHead(200, { "Content-Length": sizeBytes });
  const file = createReadStream(modelPath, { highWaterMark: 1 << 18 });
  file.on("data", (piece) => {
    response.write(piece);
    file.pause();
    setTimeout(() => file.resume(), 20);
  });
  file.on("end", () => response.end());
  response.on("close", () => file.destroy());
}

const routes = {
  "/bad/html.gguf": answer(
    200,
    { "Content-Type": "text/html" },
    "<!doctype html><title>Sign in</title>",
  ),
  "/bad/html-unnamed.gguf": answer(
    200,
    { "Content-Type": "application/octet-stream" },
    "<!doctype html><title>Sign in</title>",
  ),
  "/bad/empty.gguf": answer(200, { "Content-Type": "application/octet-stream" }, ""),
  "/bad/broken.gguf": answer(500, {}, "oops"),
  "/bad/cut.gguf": answer(200, { "Content-Type": "application/octet-stream" }, start),
  "/bad/short.gguf": (request, response) => {
    response.writeHead(200, { "Content-Length": sizeBytes });
    response.write(start, () => response.destroy());
  },
  "/slow.gguf": slow,
  ...Object.fromEntries(PARTS.map((path) => [`/parts/${basename(path)}`, fileRoute(path)])),
  [`/gone/${basename(PARTS[0])}`]: fileRoute(PARTS[0]),
  ...folderRoutes("/signed", answer(403, {}, ""), {
    "chat_template.jinja": answer(200, {}, "hello"),
    "tokenizer_config.json": answer(410, {}, ""),
  }),
  ...folderRoutes("/no-head", answer(405, {}, "")),
  ...folderRoutes("/secret", answer(200, {}, ""), { "chat_template.jinja": answer(403, {}, "") }),
  // A worker script of a browser without the origin private file system.
  "/elsewhere/worker.js": answer(
    200,
    { "Content-Type": "text/javascript" },
    `
    import "/tablm/worker.js";
    StorageManager.prototype.getDirectory = () =>
      Promise.reject(new DOMException("no storage", "SecurityError"));
  `,
  ),
  "/folder/config.json": answer(200, { "Content-Type": "application/json" }, "{}"),
  "/html-folder/config.json": answer(200, { "Content-Type": "text/html" }, "<html></html>"),
  "/index-folder/config.json": answer(200, { "Content-Type": "application/json" }, "{}"),
  "/index-folder/tokenizer.json": answer(200, { "Content-Type": "application/json" }, "{}"),
  "/index-folder/model.safetensors.index.json": answer(
    200,
    { "Content-Type": "application/json" },
    JSON.stringify({ weight_map: { a: "../../secret.safetensors" } }),
  ),
};

describe("downloads", () => {
  let harness;
  before(async () => {
    harness = await openHarness({ routes });
    await harness.run(({ TabLM }) => {
      window.tryLoad = async (source, options) => {
        try {
          await (await TabLM.load(source, { device: "cpu", ...options })).dispose();
          return { code: "none", message: "" };
        } catch (error) {
          return { name: error.name, code: error.code, message: error.message };
        }
      };
    });
  });
  after(() => harness?.close());
  const tryLoad = (source) => harness.run((_, source) => window.tryLoad(source), source);

  const REFUSED = [
    ["a web page", "/bad/html.gguf", "malformed", /html\.gguf: found a web page/],
    [
      "a web page that says it is binary",
      "/bad/html-unnamed.gguf",
      "malformed",
      /found .* at its start, expected "GGUF"/,
    ],
    ["nothing", "/bad/empty.gguf", "malformed", /empty\.gguf: found 0 bytes/],
    ["a missing file", "/bad/missing.gguf", "network", /missing\.gguf: found status 404/],
    ["a server's failure", "/bad/broken.gguf", "network", /broken\.gguf: found status 500/],
    [
      "a connection that breaks",
      "/bad/short.gguf",
      "network",
      /short\.gguf: the connection ended after \d+ bytes/,
    ],
    ["a file cut short", "/bad/cut.gguf", "malformed", /cut\.gguf/],
    ["a folder without a tokenizer", "/folder", "network", /tokenizer\.json: found status 404/],
    ["a folder of web pages", "/html-folder/", "malformed", /config\.json: found a web page/],
    [
      "an index that leaves its folder",
      "/index-folder/",
      "malformed",
      /weight_map: found "\.\.\/\.\.\/secret\.safetensors"/,
    ],
    [
      "more parts than a model has",
      "/parts/m-00001-of-99999.gguf",
      "malformed",
      /name: found 99999 parts, expected 1 to 1000/,
    ],
    [
      "a missing part",
      `/gone/${basename(PARTS[2])}`,
      "network",
      /00002-of-00003\.gguf: found status 404/,
    ],
    [
      "a file that may not be read",
      "/secret/",
      "network",
      /chat_template\.jinja: found status 403/,
    ],
    [
      "a single safetensors file",
      "/folder/model.safetensors",
      "invalid-request",
      /expected the URL of its folder/,
    ],
    ["another scheme", "file:///etc/passwd", "invalid-request", /found the scheme file:/],
    ["a hub name with too little", "hf:owner", "invalid-request", /expected hf:owner/],
  ];
  for (const [what, source, code, message] of REFUSED) {
    test(`refuses ${what} with ${code}`, async () => {
      const error = await tryLoad(source);
      assert.equal(error.code, code, error.message);
      assert.equal(error.name, "TabLMError");
      assert.match(error.message, message);
    });
  }

  test("stores nothing of refused files", async () => {
    const kept = await harness.run(({ TabLM }) => TabLM.models.list());
    assert.deepEqual(
      kept.filter((model) => model.complete),
      [],
    );
    await harness.run(async ({ TabLM }) => {
      for (const model of await TabLM.models.list()) await TabLM.models.delete(model.id);
    });
  });

  test("aborts a download at once, and can start it again", async () => {
    const results = await harness.run(async ({ TabLM }) => {
      const controller = new AbortController();
      const onProgress = ({ loadedBytes }) => loadedBytes > 0 && controller.abort();
      const start = performance.now();
      const first = await window.tryLoad("/slow.gguf", { signal: controller.signal, onProgress });
      const quick = performance.now() - start < 3000;
      const already = await window.tryLoad("/slow.gguf", { signal: controller.signal });
      return [
        first.code,
        quick,
        already.code,
        (await TabLM.models.list()).filter((model) => model.complete).length,
      ];
    });
    assert.deepEqual(results, ["aborted", true, "aborted", 0]);
  });

  test("aborts while the weights are read", async () => {
    const code = await harness.run(async (_, url) => {
      const controller = new AbortController();
      const onProgress = ({ phase }) => phase === "upload" && controller.abort();
      return (await window.tryLoad(url, { signal: controller.signal, onProgress })).code;
    }, MODEL);
    assert.equal(code, "aborted");
  });

  test("loads a stored model without a request", async () => {
    const count = () => harness.server.requests.filter(({ url }) => url === MODEL).length;
    const before = count();
    assert.equal((await tryLoad(MODEL)).code, "none");
    assert.equal(count(), before, "the model was stored by the test before");
    const [stored] = await harness.run(({ TabLM }) => TabLM.models.list());
    assert.equal(stored.complete, true);
    assert.equal(stored.sizeBytes, sizeBytes);
    assert.ok(stored.source.endsWith(MODEL));
    assert.equal(
      stored.files[0].sha256,
      "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    );
  });

  test("estimates from headers alone, stored or not", async () => {
    const [stored, remote] = await harness.run(
      async ({ TabLM }, url) => [await TabLM.estimate(url), await TabLM.estimate(`${url}?again`)],
      MODEL,
    );
    assert.deepEqual([stored.stored, stored.downloadBytes], [true, 0]);
    assert.deepEqual([remote.stored, remote.downloadBytes], [false, sizeBytes]);
    const asked = harness.server.requests.filter(({ url }) => url.endsWith("?again"));
    assert.ok(asked.length > 0);
  });

  test("verifies, finds a flipped byte, deletes", async () => {
    const results = await harness.run(async ({ TabLM }) => {
      const [{ id }] = await TabLM.models.list();
      const good = await TabLM.models.verify(id);
      const folder = await (
        await (await navigator.storage.getDirectory()).getDirectoryHandle("tablm")
      ).getDirectoryHandle("models");
      const file = await (await folder.getDirectoryHandle(id)).getFileHandle("0.bin");
      const writer = await file.createWritable({ keepExistingData: true });
      await writer.write({
        type: "write",
        position: 1_000_000,
        data: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]),
      });
      await writer.close();
      const bad = await TabLM.models.verify(id);
      const deleted = [await TabLM.models.delete(id), await TabLM.models.delete(id)];
      return { good: good.ok, bad: bad.ok, deleted, left: (await TabLM.models.list()).length };
    });
    assert.deepEqual(results, { good: true, bad: false, deleted: [true, false], left: 0 });
  });

  test("refuses an invalid id", async () => {
    const codes = await harness.run(async ({ TabLM }) => {
      const code = (promise) =>
        promise.then(
          () => "none",
          (error) => error.code,
        );
      return [
        await code(TabLM.models.delete("../x")),
        await code(TabLM.models.verify("0123456789abcdef")),
      ];
    });
    assert.deepEqual(codes, ["invalid-request", "invalid-request"]);
  });

  test("loads without storage, with worker and wasm at other URLs", async () => {
    const options = {
      workerUrl: "/elsewhere/worker.js",
      wasmUrl: "/tablm/wasm/simd/tablm_bg.wasm?elsewhere",
    };
    const results = await harness.run(
      async ({ TabLM }, [url, options]) => [
        await window.tryLoad(url, options),
        (await TabLM.models.list()).length,
      ],
      [`${MODEL}?unstored`, options],
    );
    assert.deepEqual(results, [{ code: "none", message: "" }, 0]);
    assert.ok(harness.server.requests.some(({ url }) => url === options.wasmUrl));
  });

  test("loads a File", async () => {
    const results = await harness.run(async (_, url) => {
      const blob = await (await fetch(url)).blob();
      const file = await window.tryLoad(new File([blob], "model.gguf"));
      const empty = await window.tryLoad(new File([], "model.gguf"));
      return [file, empty.code];
    }, MODEL);
    assert.equal(results[0].code, "none", results[0].message);
    assert.equal(results[1], "malformed");
  });

  test("loads a model in parts from the URL of any part, and stores all", async () => {
    const [first, second] = PARTS.map((path) => `/parts/${basename(path)}`);
    const found = await harness.run(
      async ({ TabLM }, [first, second]) => {
        const remote = await TabLM.estimate(second);
        const loaded = await window.tryLoad(second);
        const kept = (await TabLM.models.list()).find(({ source }) => source.endsWith(first));
        return { remote, loaded, kept, stored: await TabLM.estimate(first) };
      },
      [first, second],
    );
    assert.equal(found.loaded.code, "none", found.loaded.message);
    assert.deepEqual([found.remote.downloadBytes, found.remote.stored], [partsBytes, false]);
    assert.deepEqual([found.stored.downloadBytes, found.stored.stored], [0, true]);
    assert.equal(found.stored.parameters, found.remote.parameters);
    assert.deepEqual(
      found.kept.files.map(({ name }) => name),
      PARTS.map((path) => basename(path)),
    );
    assert.ok(found.kept.complete);
    const asked = () =>
      harness.server.requests.filter(({ url }) => url.startsWith("/parts/")).length;
    const before = asked();
    assert.equal((await tryLoad(first)).code, "none");
    assert.equal(asked(), before);
  });

  test("loads the Files of a model in parts, in any order", async () => {
    const results = await harness.run(
      async (_, urls) => {
        const files = await Promise.all(
          urls.map(
            async (url) => new File([await (await fetch(url)).blob()], url.split("/").at(-1)),
          ),
        );
        return [
          await window.tryLoad([files[2], files[0], files[1]]),
          await window.tryLoad([files[0], files[2]]),
        ];
      },
      PARTS.map((path) => `/parts/${basename(path)}`),
    );
    assert.equal(results[0].code, "none", results[0].message);
    assert.deepEqual(
      [results[1].code, /00002-of-00003\.gguf.*found 2 of 3/.test(results[1].message)],
      ["malformed", true],
      results[1].message,
    );
  });

  test("downloads from servers that refuse HEAD", async () => {
    for (const [folder, names] of [
      ["/signed/", ["chat_template.jinja", "generation_config.json"]],
      ["/no-head/", ["generation_config.json"]],
    ]) {
      const found = await harness.run(async ({ TabLM }, folder) => {
        const estimate = await TabLM.estimate(folder);
        const loaded = await window.tryLoad(folder);
        const kept = (await TabLM.models.list()).find(({ source }) => source.endsWith(folder));
        return { loaded, bytes: estimate.downloadBytes, kept };
      }, folder);
      assert.equal(found.loaded.code, "none", found.loaded.message);
      const kept = found.kept.files.map(({ name }) => name).sort();
      assert.deepEqual(
        kept,
        [...names, "config.json", "model.safetensors", "tokenizer.json"].sort(),
      );
      assert.equal(found.bytes, found.kept.sizeBytes);
    }
  });

  test("refuses a model too large for storage with its size", async () => {
    const session = await harness.browser.context.newCDPSession(harness.page);
    const override = { origin: harness.server.address, quotaSize: 50 * 2 ** 20 };
    await session.send("Storage.overrideQuotaForOrigin", override);
    const error = await tryLoad(`${MODEL}?full`);
    await session.send("Storage.overrideQuotaForOrigin", { origin: override.origin });
    assert.equal(error.code, "storage-full", error.message);
    assert.match(error.message, /needs 94 MiB, \d+ MiB available in this origin's storage/);
  });

  test("two tabs that load one model download it once", async () => {
    const other = await harness.browser.context.newPage();
    await other.goto(`${harness.server.address}/blank`);
    const load = (page) =>
      page.evaluate(async (url) => {
        const { TabLM } = await import("/tablm/index.js");
        const model = await TabLM.load(url, { device: "cpu" });
        const { name } = model.info;
        await model.dispose();
        return name;
      }, `${MODEL}?tabs`);
    const names = await Promise.all([load(harness.page), load(other)]);
    await other.close();
    assert.deepEqual(names, [modelName, modelName]);
    assert.equal(harness.server.requests.filter(({ url }) => url === `${MODEL}?tabs`).length, 1);
  });
});
