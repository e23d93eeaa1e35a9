// The package as npm would publish it: packed, installed into an empty folder, type-checked,
// imported in Node, and its README's example run in Chromium.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  allowNoGpu,
  modelName,
  modelPath,
  openBrowser,
  openPage,
  openServer,
  root,
} from "../web/support.mjs";

const TSC = join(root, "pkg", "node_modules", ".bin", "tsc");
const BUILDS = ["simd", "relaxed", "threads"];
let folder, packed;

function run(command, parameters, cwd = folder) {
  const result = spawnSync(command, parameters, { cwd, encoding: "utf8" });
  if (result.error) throw result.error;
  return { status: result.status, output: result.stdout + result.stderr, stdout: result.stdout };
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), "tablm-package-"));
  const options = ["--json", "--loglevel=error", "--pack-destination", folder];
  const pack = run("npm", ["pack", ...options], join(root, "pkg"));
  assert.equal(pack.status, 0, pack.output);
  // An array or an object by package name, depending on npm's version.
  const report = JSON.parse(pack.stdout);
  packed = Array.isArray(report) ? report[0] : Object.values(report)[0];
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ name: "customer", private: true, type: "module" }),
  );
  const archive = join(folder, packed.filename);
  const quiet = ["--offline", "--no-audit", "--no-fund", "--loglevel=error"];
  const install = run("npm", ["install", "--ignore-scripts", ...quiet, archive]);
  assert.equal(install.status, 0, install.output);
});
after(() => rmSync(folder, { recursive: true, force: true }));

const ALLOWED_FILES = [
  /^dist\/.*\.(js|d\.ts|wasm)$/,
  /^dist\/THIRD_PARTY_NOTICES\.txt$/,
  /^(README\.md|LICENSE-\w+|NOTICE|package\.json)$/,
];

test("contains the required files and no others", () => {
  const files = packed.files.map((file) => file.path);
  for (const file of [
    "dist/index.js",
    "dist/index.d.ts",
    "dist/worker.js",
    ...BUILDS.flatMap((build) => [
      `dist/wasm/${build}/tablm.js`,
      `dist/wasm/${build}/tablm_bg.wasm`,
    ]),
    "dist/THIRD_PARTY_NOTICES.txt",
    "README.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "NOTICE",
    "package.json",
  ]) {
    assert.ok(files.includes(file), `${file} is missing`);
  }
  assert.deepEqual(
    files.filter((file) => !ALLOWED_FILES.some((allowed) => allowed.test(file))),
    [],
  );
  const manifest = JSON.parse(
    readFileSync(join(folder, "node_modules/tablm/package.json"), "utf8"),
  );
  assert.equal(manifest.sideEffects, false);
  assert.equal(Object.keys(manifest.exports["."])[0], "types");
  assert.equal(manifest.dependencies, undefined);
});

test("uses no eval", () => {
  for (const file of [
    "index.js",
    "worker.js",
    ...BUILDS.map((build) => `wasm/${build}/tablm.js`),
  ]) {
    const text = readFileSync(join(folder, "node_modules/tablm/dist", file), "utf8");
    assert.doesNotMatch(text, /\beval\s*\(/, file);
    // wasm-bindgen's glue may name the constructor, but must not call it with text.
    assert.doesNotMatch(text, /new Function\s*\(\s*["'`]/, file);
  }
});

const PROGRAM = `
import { TabLM, TabLMError, type ErrorCode, type Model, type Progress } from "tablm";
const onProgress = (report: Progress) => console.log(report.etaSeconds);
const model: Model = await TabLM.load("/model.gguf", { onProgress, device: "auto" });
const { completions } = model.chat;
const stream = await completions.create({
  messages: [{ role: "user", content: "Hi" }], stream: true,
});
for await (const chunk of stream)
  console.log(chunk.choices[0].delta.content?.length, chunk.usage?.total_tokens);
const completion = await completions.create(
  { messages: [{ role: "user", content: "Hi" }] },
  { signal: AbortSignal.timeout(5) },
);
const { content, tool_calls: calls } = completion.choices[0].message;
const text: string = content ?? calls?.[0].function.arguments ?? "";
const code: ErrorCode = new TabLMError("aborted", text).code;
const bytes: number = model.info.memory.wasmHeapBytes + (await TabLM.models.list()).length;
console.log(code, bytes, (await TabLM.capabilities()).storage.opfs, await TabLM.estimate("hf:a/b"));
await model[Symbol.asyncDispose]();
`;

for (const [module, moduleResolution] of [
  ["nodenext", "nodenext"],
  ["esnext", "bundler"],
]) {
  test(`a strict program type-checks with ${moduleResolution}`, () => {
    writeFileSync(join(folder, "program.ts"), PROGRAM);
    const compilerOptions = {
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      target: "es2022",
      lib: ["es2022", "dom"],
      types: [],
      module,
      moduleResolution,
    };
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({ compilerOptions, files: ["program.ts"] }),
    );
    const check = run(TSC, ["--project", folder]);
    assert.equal(check.status, 0, check.output);
  });
}

test("a program with a wrong type does not type-check", () => {
  writeFileSync(
    join(folder, "program.ts"),
    PROGRAM.replace(
      'role: "user", content: "Hi" }], stream',
      'role: "nobody", content: "Hi" }], stream',
    ),
  );
  assert.notEqual(run(TSC, ["--project", folder]).status, 0);
});

test("the declared types of the wasm boundary are those of the engine", () => {
  const [declared, built] = ["pkg/src/wasm/simd/tablm.js", "pkg/dist/wasm/simd/tablm.js"].map(
    (path) => JSON.stringify(join(root, path)),
  );
  const text = `import type * as ours from ${declared};
import type * as engine from ${built};
type Ours = typeof ours;
type Engine = typeof engine;
export const load: (it: typeof engine.Engine.load) => typeof ours.Engine.load = (it) => it;
export const prepare: (it: typeof engine.Prepared.of) => typeof ours.Prepared.of = (it) => it;
export const instance: (it: engine.Engine) => Omit<ours.Engine, never> = (it) => it;
export const capabilities: (it: Engine["capabilities"]) => Ours["capabilities"] = (it) => it;
export const runThread: (it: typeof engine.runThread) => typeof ours.runThread = (it) => it;
export const estimate: (it: typeof engine.estimate) => typeof ours.estimate = (it) => it;
export const init: (it: typeof engine.default) => typeof ours.default = (it) => it;
`;
  writeFileSync(join(folder, "boundary.ts"), text);
  const options = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: "es2022",
    lib: ["esnext", "dom"],
    types: [],
    module: "esnext",
    moduleResolution: "bundler",
  };
  writeFileSync(
    join(folder, "tsconfig.boundary.json"),
    JSON.stringify({ compilerOptions: options, files: ["boundary.ts"] }),
  );
  const check = run(TSC, ["--project", join(folder, "tsconfig.boundary.json")]);
  assert.equal(check.status, 0, check.output);
});

test("importing the package in Node has no side effects", () => {
  const script = `
    const names = new Set(Object.getOwnPropertyNames(globalThis));
    const { TabLM, TabLMError } = await import("tablm");
    const added = Object.getOwnPropertyNames(globalThis).filter((name) => !names.has(name));
    const refused = await TabLM.load("https://example.com/a.gguf")
      .catch((error) => [error instanceof TabLMError, error.code]);
    console.log(JSON.stringify({ added, refused }));`;
  const result = run(process.execPath, ["--input-type=module", "--eval", script]);
  assert.equal(result.status, 0, result.output);
  assert.deepEqual(JSON.parse(result.output), { added: [], refused: [true, "invalid-request"] });
});

// tests/docs.rs checks that the example is short and the same in the repository's README.
test("the README's example runs unchanged", async () => {
  const [, code] = /^```js\n([\s\S]*?)^```$/m.exec(
    readFileSync(join(root, "pkg/README.md"), "utf8"),
  );
  mkdirSync(join(folder, "models"));
  symlinkSync(modelPath, join(folder, "models", modelName));
  const map = JSON.stringify({ imports: { tablm: "/node_modules/tablm/dist/index.js" } });
  writeFileSync(
    join(folder, "index.html"),
    '<!doctype html><title>example</title><link rel="icon" href="data:,">' +
      `<script type="importmap">${map}</script>` +
      '<script type="module" src="example.js"></script>',
  );
  writeFileSync(join(folder, "example.js"), `${code}\nwindow.finished = true;\n`);
  // The demo's policy forbids inline import maps.
  const server = await openServer({ folder, policy: null });
  const browser = await openBrowser({ adapter: !allowNoGpu });
  try {
    const { page, problems, expectQuiet } = await openPage(browser.context, "about:blank");
    const printed = [];
    page.on("console", (message) => printed.push(message.text()));
    await page.goto(server.address);
    await page
      .waitForFunction(() => window.finished === true)
      .catch(() => assert.fail(`the example did not end: ${problems} ${printed}`));
    expectQuiet();
    assert.match(printed.join(""), /Paris/);
  } finally {
    await browser.close();
    await server.close();
  }
});
