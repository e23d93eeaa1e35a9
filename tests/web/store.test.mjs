// Downloads and the model store: stored models, refused files, and the codes of their errors.

import assert from "node:assert/strict";
import { createReadStream, readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  fileRoute,
  MODEL_PARTS,
  modelName,
  modelPath,
  openHarness,
  responseRoute,
  scriptRoute,
  tiny,
  totalBytes,
} from "./support.mjs";

const MODEL = `/models/${modelName}`;
const sizeBytes = statSync(modelPath).size;
const firstBytes = readFileSync(modelPath).subarray(0, 4 << 20);
const PART_NAMES = MODEL_PARTS.map((path) => basename(path));

const BINARY = { "Content-Type": "application/octet-stream" };
const JSON_FILE = { "Content-Type": "application/json" };
const HTML = { "Content-Type": "text/html" };
const SIGN_IN_PAGE = "<!doctype html><title>Sign in</title>";

/** Returns routes to a tiny safetensors folder on a server that answers HEAD with a status. */
function folderRoutes(folder, headStatus, more = {}) {
  const head = responseRoute(headStatus, {}, "");
  const names = ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"];
  const files = names.map((name) => [name, fileRoute(tiny(`llama-tied/${name}`))]);
  const routes = [...files, ...Object.entries(more)].map(([name, get]) => [
    `${folder}/${name}`,
    (request, response) => (request.method === "HEAD" ? head : get)(request, response),
  ]);
  return Object.fromEntries(routes);
}

/** Serves a valid file, slowly enough to abort its download. */
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
  "/bad/html.gguf": responseRoute(200, HTML, SIGN_IN_PAGE),
  "/bad/html-as-binary.gguf": responseRoute(200, BINARY, SIGN_IN_PAGE),
  "/bad/empty.gguf": responseRoute(200, BINARY, ""),
  "/bad/server-error.gguf": responseRoute(500, {}, "oops"),
  "/bad/truncated.gguf": responseRoute(200, BINARY, firstBytes),
  "/bad/disconnected.gguf": (request, response) => {
    response.writeHead(200, { "Content-Length": sizeBytes });
    response.write(firstBytes, () => response.destroy());
  },
  "/slow.gguf": slow,
  ...Object.fromEntries(PART_NAMES.map((name, i) => [`/parts/${name}`, fileRoute(MODEL_PARTS[i])])),
  [`/one-part/${PART_NAMES[0]}`]: fileRoute(MODEL_PARTS[0]),
  ...folderRoutes("/signed", 403, {
    "chat_template.jinja": responseRoute(200, {}, "hello"),
    "tokenizer_config.json": responseRoute(410, {}, ""),
  }),
  ...folderRoutes("/no-head", 405),
  ...folderRoutes("/forbidden", 200, { "chat_template.jinja": responseRoute(403, {}, "") }),
  // A worker script of a browser without the origin private file system.
  "/no-storage/worker.js": scriptRoute(`
    import "/tablm/worker.js";
    StorageManager.prototype.getDirectory = () =>
      Promise.reject(new DOMException("no storage", "SecurityError"));
  `),
  "/folder/config.json": responseRoute(200, JSON_FILE, "{}"),
  "/html-folder/config.json": responseRoute(200, HTML, "<html></html>"),
  "/index-folder/config.json": responseRoute(200, JSON_FILE, "{}"),
  "/index-folder/tokenizer.json": responseRoute(200, JSON_FILE, "{}"),
  "/index-folder/model.safetensors.index.json": responseRoute(
    200,
    JSON_FILE,
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
      "a web page sent as binary",
      "/bad/html-as-binary.gguf",
      "malformed",
      /found .* at its start, expected "GGUF"/,
    ],
    ["an empty file", "/bad/empty.gguf", "malformed", /empty\.gguf: found 0 bytes/],
    ["a missing file", "/bad/missing.gguf", "network", /missing\.gguf: found status 404/],
    ["a server's failure", "/bad/server-error.gguf", "network", /error\.gguf: found status 500/],
    [
      "a file whose connection ends early",
      "/bad/disconnected.gguf",
      "network",
      /disconnected\.gguf: the connection ended after \d+ bytes/,
    ],
    ["a truncated file", "/bad/truncated.gguf", "malformed", /truncated\.gguf/],
    ["a folder without a tokenizer", "/folder", "network", /tokenizer\.json: found status 404/],
    ["a folder of web pages", "/html-folder/", "malformed", /config\.json: found a web page/],
    [
      "an index of files outside its folder",
      "/index-folder/",
      "malformed",
      /weight_map: found "\.\.\/\.\.\/secret\.safetensors"/,
    ],
    [
      "more parts than are allowed",
      "/parts/m-00001-of-99999.gguf",
      "malformed",
      /name: found 99999 parts, expected 1 to 1000/,
    ],
    [
      "a missing part",
      `/one-part/${PART_NAMES[2]}`,
      "network",
      /00002-of-00003\.gguf: found status 404/,
    ],
    [
      "an optional file that is forbidden",
      "/forbidden/",
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
    ["an incomplete hub name", "hf:owner", "invalid-request", /expected hf:owner/],
  ];
  for (const [what, source, code, message] of REFUSED) {
    test(`refuses ${what} with ${code}`, async () => {
      const error = await tryLoad(source);
      assert.equal(error.code, code, error.message);
      assert.equal(error.name, "TabLMError");
      assert.match(error.message, message);
    });
  }

  test("stores no refused file", async () => {
    const stored = await harness.run(({ TabLM }) => TabLM.models.list());
    assert.deepEqual(
      stored.filter((model) => model.complete),
      [],
    );
    await harness.run(async ({ TabLM }) => {
      for (const model of await TabLM.models.list()) await TabLM.models.delete(model.id);
    });
  });

  test("aborts a download, and aborts a load whose signal is already aborted", async () => {
    const results = await harness.run(async ({ TabLM }) => {
      const controller = new AbortController();
      const onProgress = ({ loadedBytes }) => loadedBytes > 0 && controller.abort();
      const start = performance.now();
      const first = await window.tryLoad("/slow.gguf", { signal: controller.signal, onProgress });
      const isQuick = performance.now() - start < 3000;
      const second = await window.tryLoad("/slow.gguf", { signal: controller.signal });
      return [
        first.code,
        isQuick,
        second.code,
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
    // The test before stored the model.
    assert.equal(count(), before);
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

  test("verifies a model, finds changed bytes, and deletes the model", async () => {
    const results = await harness.run(async ({ TabLM }) => {
      const [{ id }] = await TabLM.models.list();
      const good = await TabLM.models.verify(id);
      let folder = await navigator.storage.getDirectory();
      for (const name of ["tablm", "models", id]) folder = await folder.getDirectoryHandle(name);
      const file = await folder.getFileHandle("0.bin");
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

  test("refuses invalid and unknown ids", async () => {
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

  test("loads without storage, and from given URLs of worker and wasm", async () => {
    const options = {
      workerUrl: "/no-storage/worker.js",
      wasmUrl: "/tablm/wasm/simd/tablm_bg.wasm?given",
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

  test("loads a model in parts from the URL of any part, and stores all parts", async () => {
    const [first, second] = PART_NAMES.map((name) => `/parts/${name}`);
    const partsBytes = totalBytes(MODEL_PARTS);
    const found = await harness.run(
      async ({ TabLM }, [first, second]) => {
        const remote = await TabLM.estimate(second);
        const loaded = await window.tryLoad(second);
        const model = (await TabLM.models.list()).find(({ source }) => source.endsWith(first));
        return { remote, loaded, model, stored: await TabLM.estimate(first) };
      },
      [first, second],
    );
    assert.equal(found.loaded.code, "none", found.loaded.message);
    assert.deepEqual([found.remote.downloadBytes, found.remote.stored], [partsBytes, false]);
    assert.deepEqual([found.stored.downloadBytes, found.stored.stored], [0, true]);
    assert.equal(found.stored.parameters, found.remote.parameters);
    assert.deepEqual(
      found.model.files.map(({ name }) => name),
      PART_NAMES,
    );
    assert.ok(found.model.complete);
    const count = () =>
      harness.server.requests.filter(({ url }) => url.startsWith("/parts/")).length;
    const before = count();
    assert.equal((await tryLoad(first)).code, "none");
    assert.equal(count(), before);
  });

  test("loads the Files of a model in parts, in any order", async () => {
    const results = await harness.run(
      async (_, urls) => {
        const fetchFile = async (url) =>
          new File([await (await fetch(url)).blob()], url.split("/").at(-1));
        const files = await Promise.all(urls.map(fetchFile));
        return [
          await window.tryLoad([files[2], files[0], files[1]]),
          await window.tryLoad([files[0], files[2]]),
        ];
      },
      PART_NAMES.map((name) => `/parts/${name}`),
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
        const model = (await TabLM.models.list()).find(({ source }) => source.endsWith(folder));
        return { loaded, downloadBytes: estimate.downloadBytes, model };
      }, folder);
      assert.equal(found.loaded.code, "none", found.loaded.message);
      const stored = found.model.files.map(({ name }) => name).sort();
      const expected = [...names, "config.json", "model.safetensors", "tokenizer.json"].sort();
      assert.deepEqual(stored, expected);
      assert.equal(found.downloadBytes, found.model.sizeBytes);
    }
  });

  test("refuses a model that is larger than the storage, and names both sizes", async () => {
    const session = await harness.browser.context.newCDPSession(harness.page);
    const override = { origin: harness.server.address, quotaSize: 50 * 2 ** 20 };
    await session.send("Storage.overrideQuotaForOrigin", override);
    const error = await tryLoad(`${MODEL}?full`);
    await session.send("Storage.overrideQuotaForOrigin", { origin: override.origin });
    assert.equal(error.code, "storage-full", error.message);
    assert.match(error.message, /needs 94 MiB, \d+ MiB available in this origin's storage/);
  });

  test("downloads a model once that two tabs load at the same time", async () => {
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
