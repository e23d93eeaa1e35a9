// Loads of `hf:` sources, from a hub whose files may be compressed or on another origin.

import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { headerPolicy } from "../../www/security_headers.mjs";
import {
  derived,
  fileRoute,
  MODEL_PARTS,
  openHarness,
  openOrigin,
  responseRoute,
  tiny,
  totalBytes,
} from "./support.mjs";

/** An entry of a repository's list of files. */
const listed = (path, size) => ({ type: "file", oid: "0", size, path });

// Two local origins act as the hub: the first compresses texts and redirects requests for weights
// to the second, which supports ranges.
describe("hf: sources", () => {
  const FILES = {
    "/some/gguf/resolve/main/tiny.gguf": "tiny-Q4_K-256.gguf",
    "/compressed.gguf": "tiny-Q4_K-256.gguf",
    "/some/many/resolve/main/Tiny-Q4_K_M.gguf": "tiny-Q4_K-256.gguf",
  };
  const PARTS_FOLDER = /^\/some\/(parts|split)\/resolve\/main\/Q8\//;
  const FOLDER = /^\/some\/(folder\/resolve\/v1|safetensors\/resolve\/main)\//;
  const derivedFile = (path) =>
    derived(FILES[path] ?? path.replace(FOLDER, "SmolLM2-135M-Instruct-BF16/"));
  const fileOf = (path) => (PARTS_FOLDER.test(path) ? tiny(basename(path)) : derivedFile(path));
  /** Lists of repositories, in pages. */
  const LISTS = {
    "some/many": [
      [
        { type: "directory", oid: "0", size: 0, path: "old" },
        listed("README.md", 900),
        listed("Tiny-BF16.gguf", 9e9),
        listed("Tiny-Q8_0.gguf", 3e9),
        listed("mmproj-F16.gguf", 1e6),
      ],
      [listed("Tiny-Q4_K_M.gguf", 3e6), listed("Tiny.imatrix.gguf", 1e6)],
    ],
    "some/split": [MODEL_PARTS.map((path) => listed(`Q8/${basename(path)}`, 1e6))],
    "some/safetensors": [
      ["config.json", "tokenizer.json", "model.safetensors"].map((path) =>
        listed(path, path === "model.safetensors" ? 269e6 : 1e6),
      ),
    ],
    "some/onnx": [[listed("onnx/model.onnx", 1e6), listed("../m.gguf", 1e6)]],
  };
  const requests = [];
  let hub, storage, harness;

  /** Answers with a page of a repository's list; the second page is linked as the hub links it. */
  function answerWithList(request, response, [first, second]) {
    const isSecond = new URL(request.url, "http://localhost").searchParams.has("cursor");
    const link = '<https://example.com/elsewhere?recursive=true&cursor=Zm9v>; rel="next"';
    const headers = {
      "Content-Type": "application/json; charset=utf-8",
      "Access-Control-Expose-Headers": "Link",
      ...(second && !isSecond && { Link: link }),
    };
    responseRoute(200, headers, JSON.stringify(isSecond ? second : first))(request, response);
  }

  function answerAsStorage(request, response, path) {
    requests.push(`${request.method} ${path}`);
    fileRoute(fileOf(path))(request, response);
  }

  function answerAsHub(request, response, path) {
    requests.push(`${request.method} ${path}`);
    const list = LISTS[/^\/api\/models\/(.+)\/tree\/main$/.exec(path)?.[1]];
    if (list) return answerWithList(request, response, list);
    const isWeights = /\.(gguf|safetensors)$/.test(path);
    if (!existsSync(fileOf(path))) response.writeHead(404).end();
    else if (isWeights && path !== "/compressed.gguf")
      response.writeHead(302, { Location: `${storage.address}${path}?signed=1` }).end();
    else {
      const file = gzipSync(readFileSync(fileOf(path)));
      const headers = {
        "Content-Type": isWeights ? "application/octet-stream" : "text/plain",
        "Content-Encoding": "gzip",
        "Content-Length": file.length,
      };
      responseRoute(200, headers, file)(request, response);
    }
  }

  before(async () => {
    [storage, hub] = [await openOrigin(answerAsStorage), await openOrigin(answerAsHub)];
    const policy = headerPolicy.replace(
      "https://huggingface.co",
      `${hub.address} ${storage.address}`,
    );
    harness = await openHarness({ adapter: false, policy, isolated: true });
  });
  after(async () => {
    await harness?.close();
    await hub?.close();
    await storage?.close();
  });
  const run = (source, job) => harness.run(job, { source, hubUrl: hub.address });

  test("load a file of a repository, and download it once", async () => {
    const load = async ({ TabLM }, { source, hubUrl }) => {
      const model = await TabLM.load(source, { hubUrl });
      await model.dispose();
      return [model.info.name, model.info.architecture];
    };
    assert.deepEqual(await run("hf:some/gguf/tiny.gguf", load), ["tiny.gguf", "llama"]);
    const path = "/some/gguf/resolve/main/tiny.gguf";
    assert.deepEqual(requests.splice(0), [`GET ${path}`, `GET ${path}`]);
    await run("hf:some/gguf/tiny.gguf", load);
    assert.deepEqual(requests, []);
  });

  test("estimate a folder from the headers of its weights", async () => {
    const estimate = await run("hf:some/folder@v1", ({ TabLM }, { source, hubUrl }) =>
      TabLM.estimate(source, { hubUrl }),
    );
    assert.deepEqual(
      [estimate.architecture, estimate.parameters, estimate.stored],
      ["llama", 134_515_008, false],
    );
    assert.ok(estimate.downloadBytes > 269e6, `found ${estimate.downloadBytes}`);
    const weights = requests.filter((request) => request.endsWith(".safetensors"));
    assert.ok(weights.length > 0 && weights.length < 10, `found ${weights.length} requests`);
  });

  test("load a model in parts", async () => {
    const load = async ({ TabLM }, { source, hubUrl }) => {
      const model = await TabLM.load(source, { hubUrl });
      await model.dispose();
      const models = await TabLM.models.list();
      const { sizeBytes, complete } = models.find(({ source }) => source.includes("/parts/"));
      return { architecture: model.info.architecture, sizeBytes, complete };
    };
    const found = await run("hf:some/parts/Q8/phi-parameters-00001-of-00003.gguf", load);
    const sizeBytes = totalBytes(MODEL_PARTS);
    assert.deepEqual(found, { architecture: "phi2", sizeBytes, complete: true });
  });

  // Responses of other origins hide that they were compressed, but not their compressed length.
  test("load a file that is compressed in transfer", async () => {
    const load = async ({ TabLM }, url) => {
      const totals = [];
      const model = await TabLM.load(url, {
        onProgress: ({ phase, loadedBytes, totalBytes }) =>
          phase === "download" && totals.push([loadedBytes, totalBytes]),
      });
      await model.dispose();
      const { sizeBytes } = (await TabLM.models.list()).find(({ source }) =>
        source.endsWith("/compressed.gguf"),
      );
      return {
        sizeBytes,
        isWithinTotal: totals.every(([loaded, total]) => total === null || loaded <= total),
      };
    };
    const found = await harness.run(load, `${hub.address}/compressed.gguf`);
    assert.deepEqual(found, {
      sizeBytes: statSync(fileOf("/compressed.gguf")).size,
      isWithinTotal: true,
    });
  });

  test("choose a file of a repository by memory, and keep to it once it is stored", async () => {
    requests.splice(0);
    const choose = async ({ TabLM }, { source, hubUrl }) => {
      const options = { hubUrl, memoryBytes: 2 ** 30 };
      const estimate = await TabLM.estimate(source, options);
      const model = await TabLM.load(source, options);
      await model.dispose();
      const { name, choice } = model.info;
      return { estimated: estimate.choice, bytes: estimate.downloadBytes, name, choice };
    };
    const { estimated, bytes, name, choice } = await run("hf:some/many", choose);
    assert.equal(name, "Tiny-Q4_K_M.gguf");
    assert.deepEqual(
      choice.candidates.map(({ file, fits }) => [file, fits]),
      [
        ["Tiny-Q4_K_M.gguf", true],
        ["Tiny-Q8_0.gguf", false],
        ["Tiny-BF16.gguf", false],
      ],
    );
    assert.match(choice.reason, /^Tiny-Q4_K_M\.gguf: .* it takes 0\.0 GiB of the 1\.0 GiB/);
    assert.deepEqual([estimated, choice.file], [choice, name]);
    assert.equal(bytes, statSync(derived("tiny-Q4_K-256.gguf")).size);
    const seen = new Set(requests.splice(0).map((request) => request.split(" ")[1]));
    assert.deepEqual([...seen].sort(), [
      "/api/models/some/many/tree/main",
      "/some/many/resolve/main/Tiny-Q4_K_M.gguf",
    ]);
    const again = await run("hf:some/many", choose);
    assert.equal(again.name, name);
    assert.match(again.choice.reason, /It is stored in this browser\.$/);
    assert.equal(again.bytes, 0);
    assert.deepEqual(requests, []);
  });

  test("choose a file in parts", async () => {
    const load = async ({ TabLM }, { source, hubUrl }) => {
      const model = await TabLM.load(source, { hubUrl });
      await model.dispose();
      return [model.info.architecture, model.info.choice.file];
    };
    const found = ["phi2", `Q8/${basename(MODEL_PARTS[0])}`];
    assert.deepEqual(await run("hf:some/split", load), found);
    requests.splice(0);
    assert.deepEqual(await run("hf:some/split", load), found);
    assert.deepEqual(requests, []);
  });

  test("quantize a folder of safetensors that does not fit", async () => {
    const estimate = async ({ TabLM }, { source, hubUrl }) => {
      const choices = [];
      for (const memoryBytes of [4e9, 350e6, 100e6])
        choices.push((await TabLM.estimate(source, { hubUrl, memoryBytes })).choice);
      return choices;
    };
    const [whole, quantized, none] = await run("hf:some/safetensors", estimate);
    assert.deepEqual([whole.file, whole.quantize], ["", undefined]);
    assert.ok(quantized.quantize, quantized.reason);
    assert.match(quantized.reason, /quantized to \w+ as memory is short/);
    assert.match(none.reason, /more than the 0\.1 GiB/);
  });

  test("refuse repositories without a model, and wrong memory", async () => {
    const codes = async ({ TabLM }, { source, hubUrl }) => {
      const fail = (options) =>
        TabLM.estimate(source, options).catch(({ code, message }) => [code, message]);
      return [await fail({ hubUrl }), await fail({ hubUrl, memoryBytes: 0 })];
    };
    const [none, wrong] = await run("hf:some/onnx", codes);
    assert.equal(none[0], "unsupported-format");
    assert.match(none[1], /some\/onnx: found no \.gguf file and no complete folder/);
    assert.equal(wrong[0], "invalid-request");
    assert.match(wrong[1], /memoryBytes: found 0/);
  });

  test("ask for the name of a .gguf file if a repository is no safetensors folder", async () => {
    const error = await run("hf:some/other", ({ TabLM }, { source, hubUrl }) =>
      TabLM.load(source, { hubUrl }).catch(({ code, message }) => ({ code, message })),
    );
    assert.equal(error.code, "network");
    assert.match(error.message, /config\.json: found status 404.*for GGUF, name the \.gguf file/);
  });
});
