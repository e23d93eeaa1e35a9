// Downloads from a server whose connections break, stall or are refused: they continue where they
// were, and the stored file is the server's; a file that changes meanwhile is refused.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { modelPath, openHarness, scriptRoute, tiny } from "./support.mjs";

/** Most bytes that a server may have sent beyond what arrived when a connection breaks. */
const IN_FLIGHT_BYTES = 4 << 20;
const small = readFileSync(tiny("falcon_h1-norm.gguf"));
const large = readFileSync(modelPath);
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Random numbers from 0 to 1 from a seed (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Returns a route to a file that has one fault for each request, until they are used up:
 * `{ status }` refuses, `{ cut }` and `{ stall }` end or stop after that part of the bytes, `etag`
 * and `bytes` serve another file from then on. `log` gets the first byte of each request.
 */
function faulty(file, faults, { ranges = true, validator = true } = {}) {
  let [bytes, etag] = [file, '"first"'];
  const log = [];
  const route = (request, response) => {
    if (request.method === "HEAD") return response.writeHead(405).end();
    const fault = faults.shift() ?? {};
    [bytes, etag] = [fault.bytes ?? bytes, fault.etag ?? etag];
    const asked = ranges
      ? Number(/^bytes=(\d+)-\d*$/.exec(request.headers.range ?? "")?.[1] ?? 0)
      : 0;
    log.push(asked);
    if (fault.status) return response.writeHead(fault.status, { "Retry-After": "1" }).end();
    const body = bytes.subarray(asked);
    response.writeHead(asked > 0 ? 206 : 200, {
      "Content-Length": body.length,
      "Content-Type": "application/octet-stream",
      ...(validator && { ETag: etag }),
      ...(asked > 0 && {
        "Content-Range": `bytes ${asked}-${bytes.length - 1}/${bytes.length}`,
      }),
    });
    const part = fault.cut ?? fault.stall;
    if (part === undefined) return response.end(body);
    response.write(body.subarray(0, Math.floor(part * body.length)));
    // After the bytes that are on their way, unlike `destroy`.
    if (fault.cut !== undefined) response.socket.end();
  };
  return { route, log };
}

describe("interrupted downloads", () => {
  let harness;
  const routes = {
    // A worker whose timers run a hundred times as fast.
    "/fast/worker.js": scriptRoute('import "/fast/timers.js"; import "/tablm/worker.js";'),
    "/fast/timers.js": scriptRoute(`
      const wait = globalThis.setTimeout;
      globalThis.setTimeout = (job, ms, ...rest) => wait(job, ms / 100, ...rest);
    `),
  };
  before(async () => {
    harness = await openHarness({ routes, adapter: false });
  });
  after(() => harness?.close());

  /** Loads a model from a route; returns its stored file, or the error. */
  async function download(name, { route }) {
    routes[`/models/${name}`] = route;
    return harness.run(async ({ TabLM }, source) => {
      const url = new URL(source, document.baseURI).href;
      try {
        const model = await TabLM.load(url, { device: "cpu", workerUrl: "/fast/worker.js" });
        await model.dispose();
      } catch ({ code, message }) {
        const list = await TabLM.models.list();
        return { code, message, stored: list.some(({ source }) => source === url) };
      }
      const stored = (await TabLM.models.list()).find(({ source }) => source === url);
      await TabLM.models.delete(stored.id);
      return { code: "none", file: stored.files[0] };
    }, `/models/${name}`);
  }

  test("give the server's file after random faults", async () => {
    const next = random(7);
    const kinds = [
      () => ({ cut: next() }),
      () => ({ stall: next() }),
      () => ({ status: [429, 500, 502, 503, 504][Math.floor(5 * next())] }),
    ];
    for (let run = 0; run < 20; run += 1) {
      const count = 1 + Math.floor(4 * next());
      const faults = Array.from({ length: count }, () => kinds[Math.floor(3 * next())]());
      const text = JSON.stringify(faults);
      const options = { ranges: next() < 0.8, validator: next() < 0.8 };
      const server = faulty(small, faults, options);
      const { code, message, file } = await download(`random-${run}.gguf`, server);
      assert.equal(code, "none", `${message} after ${text}`);
      assert.deepEqual([file.sizeBytes, file.sha256], [small.length, sha256(small)], text);
    }
  });

  test("continue where they were", async () => {
    const server = faulty(large, [{ cut: 0.4 }, { cut: 0.5 }, { stall: 0.5 }, { status: 503 }]);
    const { code, message, file } = await download("large.gguf", server);
    assert.equal(code, "none", message);
    assert.equal(file.sha256, sha256(large));
    const [first, ...continued] = server.log;
    assert.equal(first, 0);
    const ends = [0.4, 0.7, 0.85, 0.85].map((part) => part * large.length);
    for (const [index, from] of continued.entries()) {
      const again = ends[index] - from;
      assert.ok(again >= -1 && again < IN_FLIGHT_BYTES, `request ${index}: ${again} bytes again`);
    }
  });

  test("start again where the server has no ranges", async () => {
    const server = faulty(small, [{ cut: 0.5 }, { cut: 0.9 }], { ranges: false });
    const { code, message, file } = await download("whole.gguf", server);
    assert.equal(code, "none", message);
    assert.equal(file.sha256, sha256(small));
    assert.deepEqual(server.log, [0, 0, 0]);
  });

  test("are refused if the file changes, and leave nothing", async () => {
    const longer = Buffer.concat([large, Buffer.alloc(100)]);
    for (const [name, change] of Object.entries({
      "another tag": { etag: '"second"' },
      "another length": { bytes: longer },
      "other bytes": { bytes: Buffer.concat([large.subarray(0, 99), large.subarray(1, -98)]) },
    })) {
      const options = { validator: name !== "other bytes" };
      const server = faulty(large, [{ cut: 0.5 }, { ...change }], options);
      const found = await download(`changed-${name.replace(" ", "-")}.gguf`, server);
      assert.equal(found.code, "integrity", `${name}: ${found.message}`);
      assert.match(found.message, /changed during the download: found .*, expected .*/, name);
      assert.equal(found.stored, false, name);
    }
  });

  test("end with the reason if the server does not recover", async () => {
    const broken = Array.from({ length: 20 }, () => ({ cut: 0 }));
    const cut = await download("cut.gguf", faulty(small, broken));
    assert.deepEqual([cut.code, cut.stored], ["network", false]);
    assert.match(cut.message, /the connection ended after 0 bytes/);
    const busy = faulty(
      small,
      Array.from({ length: 20 }, () => ({ status: 503 })),
    );
    const refused = await download("busy.gguf", busy);
    assert.deepEqual([refused.code, refused.stored], ["network", false]);
    assert.match(refused.message, /found status 503/);
    assert.equal(busy.log.length, 5);
  });
});
