// Shared parts of the browser tests: Chromium with and without a WebGPU adapter, the demo's server
// with a log of requests, pages that collect console errors, and the native engine for comparison.

import { spawnSync } from "node:child_process";
import {
  createReadStream,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";
import { headerPolicy, isolation } from "../../www/security_headers.mjs";
import { serve } from "../../www/serve.mjs";

export const root = join(import.meta.dirname, "..", "..");
export const modelName = "SmolLM2-135M-Instruct.Q4_1.gguf";
export const modelPath = join(root, "www", "dist", "models", modelName);
/** True if tests may run on the CPU executor for lack of an adapter. */
export const allowNoGpu = process.env.ALLOW_NO_GPU === "1";

/** Options for the GPU, if there is one; `auto` may prefer the CPU to a software adapter. */
export const onGpu = { device: allowNoGpu ? "cpu" : "webgpu" };
/** Limit of the wasm heap when the weights are on the GPU. */
export const MAX_WASM_HEAP_BYTES = 64 * 2 ** 20;

const requireFromPackage = createRequire(join(root, "pkg", "package.json"));
const { chromium } = requireFromPackage("playwright-core");

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-domain-reliability",
];
const WITH_ADAPTER = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];
const WITHOUT_ADAPTER = ["--disable-features=WebGPU,WebGPUService", "--disable-gpu"];

function chromiumPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
  if (existsSync(mac)) return mac;
  for (const name of ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]) {
    for (const folder of (process.env.PATH ?? "").split(delimiter)) {
      if (existsSync(join(folder, name))) return join(folder, name);
    }
  }
  throw new Error("no Chromium in PATH; run .ci/setup.sh chromium or set CHROMIUM=");
}

/** Limit of a wait: many times what any takes, so that a test that hangs fails and says where. */
const MAX_WAIT_MS = 600_000;

/** Returns a promise that rejects with `what` if another takes longer than the limit of a wait. */
function bounded(what, promise) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took over ${MAX_WAIT_MS} ms`)), MAX_WAIT_MS);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Starts a browser with a new, empty profile, which `close` deletes. */
export async function openBrowser({ adapter = true, args = [], ...options } = {}) {
  const profile = mkdtempSync(join(tmpdir(), "tablm-web-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: chromiumPath(),
    headless: true,
    args: [...ARGUMENTS, ...(adapter ? WITH_ADAPTER : WITHOUT_ADAPTER), ...args],
    ...options,
  });
  context.setDefaultTimeout(180_000);
  const close = async () => {
    await bounded("closing the browser", context.close());
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { context, close };
}

/** Starts the demo's server on a free port; `requests` is a log of its requests. */
export async function openServer(options = {}) {
  const requests = [];
  const { before, ...rest } = options;
  const { server, address } = await serve({
    port: 0,
    ...rest,
    before(request, response) {
      requests.push({ method: request.method, url: request.url });
      return before?.(request, response);
    },
  });
  const close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { address, requests, close };
}

/** Starts a server of another origin that allows cross-origin reads. */
export async function openOrigin(answer) {
  const server = createServer((request, response) => {
    response.setHeader("Access-Control-Allow-Origin", "*");
    answer(request, response, new URL(request.url, "http://localhost").pathname);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () =>
    new Promise((resolve) => (server.close(() => resolve()), server.closeAllConnections()));
  return { address: `http://127.0.0.1:${server.address().port}`, close };
}

/** Opens a page and collects its console errors and exceptions; `expectQuiet` throws them. */
export async function openPage(context, url) {
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`exception: ${error.message}`));
  const evaluate = page.evaluate.bind(page);
  page.evaluate = (...parameters) => bounded("page.evaluate", evaluate(...parameters));
  await page.goto(url);
  const expectQuiet = () => {
    if (problems.length > 0) throw new Error(`the page reported:\n${problems.join("\n")}`);
  };
  return { page, problems, expectQuiet };
}

/** Waits until the chat page can answer; throws if it shows an error. */
export async function waitUntilReady(page) {
  await page.waitForFunction(() => ["ready", "failed"].includes(document.body.dataset.state));
  const problem = await page.evaluate(
    () => document.querySelector("#problem:not([hidden])")?.textContent,
  );
  if (problem) throw new Error(`the page could not load the model: ${problem}`);
}

/** Sends a message on the chat page; returns the answer and the lengths seen while it grew. */
export async function chat(page, text) {
  const before = await page.locator(".message.assistant").count();
  await page.fill("#prompt", text);
  await page.keyboard.press("Enter");
  const answer = page.locator(".message.assistant").nth(before);
  await answer.waitFor();
  const growth = answer.evaluate(
    (item) =>
      new Promise((resolve, reject) => {
        const seen = new Set();
        const look = () => {
          seen.add(item.textContent.length);
          if (item.dataset.answer !== undefined) return resolve([...seen]);
          if (!item.isConnected)
            return reject(new Error(document.querySelector("#problem").textContent));
          requestAnimationFrame(look);
        };
        look();
      }),
  );
  const lengths = await bounded("the answer", growth);
  return { text: await answer.evaluate((item) => item.dataset.answer), lengths };
}

/** Runs the native engine with `--json` and returns its report. */
export function native(...parameters) {
  const binary = join(process.env.CARGO_TARGET_DIR || join(root, "target"), "release", "tablm");
  const run = spawnSync(binary, [...parameters, "--json"], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (run.error) throw run.error;
  if (run.status !== 0) throw new Error(`${parameters.join(" ")}: ${run.stderr}`);
  return JSON.parse(run.stdout);
}

/** Returns the native engine's greedy answer to messages. */
export function nativeAnswer(messages, maxTokens, model = modelPath, backend = "auto") {
  const folder = mkdtempSync(join(tmpdir(), "tablm-messages-"));
  try {
    const file = join(folder, "messages.json");
    writeFileSync(file, JSON.stringify(messages));
    const input = ["--model", model, "--backend", backend, "--messages", file];
    const sampling = ["--temperature", "0", "--max-tokens", String(maxTokens)];
    return native("generate", ...input, ...sampling);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Returns a route that sends a fixed response. */
export const responseRoute = (status, headers, body) => (request, response) => {
  response.writeHead(status, headers);
  response.end(request.method === "HEAD" ? undefined : body);
};

/** Returns a route to a script that workers may run in isolated pages. */
export const scriptRoute = (text) =>
  responseRoute(200, { "Content-Type": "text/javascript", ...isolation }, text);

/** Returns a route that serves a file or the requested range of it. */
export function fileRoute(path) {
  return (request, response) => {
    const { size } = statSync(path);
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const [start, end] = range
      ? [Number(range[1]), Math.min(Number(range[2]), size - 1)]
      : [0, size - 1];
    const headers = {
      "Content-Length": end - start + 1,
      "Content-Type": "application/octet-stream",
    };
    if (range) headers["Content-Range"] = `bytes ${start}-${end}/${size}`;
    response.writeHead(range ? 206 : 200, headers);
    if (request.method === "HEAD") response.end();
    else createReadStream(path, { start, end }).pipe(response);
  };
}

const cache = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");

/** Returns a route to a file in the test cache: `/cache/PATH`. */
export const cacheRoute = (path) => ({ [`/cache/${path}`]: fileRoute(join(cache, path)) });

/** Returns routes to the files of a folder in the test cache: `/cache/PATH/…`. */
export function folderRoutes(path) {
  const entries = readdirSync(join(cache, path), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const below = files.map((file) => relative(cache, join(file.parentPath ?? file.path, file.name)));
  return Object.assign({}, ...below.map(cacheRoute));
}

/** Returns the path of a file made by tests/data/make_models.py. */
export const derived = (name) => join(cache, "derived", "1", name);

/** Returns the path of a file made by tests/data/tiny/make_tiny.py. */
export const tiny = (name) => join(cache, "derived", "tiny", name);

/** Paths of a model in three parts, as the Python package gguf writes it. */
export const MODEL_PARTS = [1, 2, 3].map((number) =>
  tiny(`phi-parameters-0000${number}-of-00003.gguf`),
);

/** Returns the total size of files. */
export const totalBytes = (paths) => paths.reduce((sum, path) => sum + statSync(path).size, 0);

/** Returns routes to derived files, `/derived/NAME`, or `/derived/NAME/…` in derived folders. */
export function derivedRoutes(names) {
  const routes = {};
  const add = (name) => {
    const path = derived(name);
    if (statSync(path).isDirectory())
      return readdirSync(path).forEach((file) => add(`${name}/${file}`));
    routes[`/derived/${name}`] = fileRoute(path);
  };
  names.forEach(add);
  return routes;
}

/** Returns a route to the default model with another chat template, padded to the same length. */
export function modelWithTemplate(template) {
  return (request, response) => {
    const model = readFileSync(modelPath);
    const key = "tokenizer.chat_template";
    const text = template.trimEnd();
    // After the key, GGUF has the value's type (u32), the string's length (u64) and the string.
    const lengthOffset = model.indexOf(key) + key.length + 4;
    const length = Number(model.readBigUInt64LE(lengthOffset));
    model.write(`${text}{#${" ".repeat(length - text.length - 4)}#}`, lengthOffset + 8);
    response.writeHead(200, { "Content-Length": model.length });
    response.end(request.method === "HEAD" ? undefined : model);
  };
}

/** Returns a TypeScript module of the repository and its imports as one JavaScript module. */
export async function bundle(...path) {
  const { outputFiles } = await requireFromPackage("esbuild").build({
    entryPoints: [join(root, ...path)],
    bundle: true,
    format: "esm",
    write: false,
    nodePaths: [join(root, "pkg", "node_modules")],
    tsconfigRaw: {},
  });
  return outputFiles[0].text;
}

/** Returns the engine's builds whose wasm is among requested URLs, each once, in order. */
export function requestedBuilds(urls) {
  const builds = urls.map((url) => /\/wasm\/(\w+)\/tablm_bg\.wasm$/.exec(url)?.[1]);
  return [...new Set(builds.filter(Boolean))];
}

/** Waits until a page has `count` workers; fails if it has not within the limit. */
export async function expectWorkers(page, count, limitMs) {
  const end = Date.now() + limitMs;
  while (page.workers().length !== count) {
    if (Date.now() > end)
      throw new Error(`found ${page.workers().length} workers, expected ${count}`);
    await page.waitForTimeout(50);
  }
}

/** Describes the memory of a model, from `info.memory`, for a test's diagnostics. */
export function memoryText({ wasmHeapBytes, peakGpuBytes }) {
  const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return `wasm heap ${mebibytes(wasmHeapBytes)}, GPU ${mebibytes(peakGpuBytes)}`;
}

/** Reads a file of the repository as text. */
export const readText = (...parts) => readFileSync(join(root, ...parts), "utf8");

/** Reads a file of the repository as JSON. */
export const readJson = (...parts) => JSON.parse(readText(...parts));

/**
 * Opens an empty page of the site, under its policy, and imports the built package into it.
 * `run(f, argument)` calls `f(tablm, argument)` in the page. With `isolated` it may use threads.
 */
export async function openHarness({
  adapter = !allowNoGpu,
  routes = {},
  policy = headerPolicy,
  isolated = false,
  args = [],
} = {}) {
  const server = await openServer({
    policy,
    before(request, response) {
      const path = new URL(request.url, "http://localhost").pathname;
      if (path === "/blank") {
        response.writeHead(200, {
          "Content-Type": "text/html",
          "Content-Security-Policy": policy,
          ...(isolated && isolation),
        });
        response.end(`<!doctype html><title>blank</title><link rel="icon" href="/icon.svg">`);
        return true;
      }
      if (!routes[path]) return false;
      routes[path](request, response);
      return true;
    },
  });
  const browser = await openBrowser({ adapter, args });
  const view = await openPage(browser.context, `${server.address}/blank`);
  await view.page.evaluate(async () => void (window.tablm = await import("/tablm/index.js")));
  // The function is evaluated by the debugger, to which the page's policy does not apply.
  const run = (job, argument) =>
    view.page.evaluate(`(${job})(window.tablm, ${JSON.stringify(argument) ?? "undefined"})`);
  const close = async () => {
    await browser.close();
    await server.close();
  };
  return { ...view, server, browser, run, close };
}
