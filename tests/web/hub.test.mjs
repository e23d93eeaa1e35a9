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

// Two local origins act as the hub: the first compresses texts and redirects requests for weights
// to the second, which supports ranges.
describe("hf: sources", () => {
  const FILES = {
    "/some/gguf/resolve/main/tiny.gguf": "tiny-Q4_K-256.gguf",
    "/compressed.gguf": "tiny-Q4_K-256.gguf",
  };
  const PARTS_FOLDER = "/some/parts/resolve/main/Q8/";
  const FOLDER = "/some/folder/resolve/v1/";
  const derivedFile = (path) =>
    derived(FILES[path] ?? path.replace(FOLDER, "SmolLM2-135M-Instruct-BF16/"));
  const fileOf = (path) =>
    path.startsWith(PARTS_FOLDER) ? tiny(basename(path)) : derivedFile(path);
  const requests = [];
  let hub, storage, harness;

  function answerAsStorage(request, response, path) {
    requests.push(`${request.method} ${path}`);
    fileRoute(fileOf(path))(request, response);
  }

  function answerAsHub(request, response, path) {
    requests.push(`${request.method} ${path}`);
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

  test("ask for the name of a .gguf file if a repository is no safetensors folder", async () => {
    const error = await run("hf:some/gguf", ({ TabLM }, { source, hubUrl }) =>
      TabLM.load(source, { hubUrl }).catch(({ code, message }) => ({ code, message })),
    );
    assert.equal(error.code, "network");
    assert.match(error.message, /config\.json: found status 404.*for GGUF, name the \.gguf file/);
  });
});
