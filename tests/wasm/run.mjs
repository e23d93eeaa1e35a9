// Runs Rust tests as wasm32 in Node, with the browser build's stack of 1 MiB. Usage: `run.mjs
// [NAME…]` runs the tests whose names contain one of these. A failed test traps; the next test gets
// a new instance.

import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  readFileSync,
  statSync,
} from "node:fs";
import { homedir } from "node:os";
import { basename, join } from "node:path";

const PROGRAMS = ["cpu", "text", "weights", "models", "limits"];
const TARGET = "wasm32-unknown-unknown";
const root = join(import.meta.dirname, "..", "..");
const targetFolder = join(process.env.CARGO_TARGET_DIR || join(root, "target"), "wasm-tests");
const cache = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");
const version = /^wasm-bindgen = "=(.*)"$/m.exec(readFileSync(join(root, "Cargo.toml"), "utf8"))[1];
const bindgen = join(cache, "tools", `wasm-bindgen-${version}`, "bin", "wasm-bindgen-step");

// Host functions for tests/common/files.rs.
const orUndefined = (get) => {
  try {
    return get();
  } catch {
    return undefined;
  }
};
Object.assign(globalThis, {
  hostSize: (path) =>
    orUndefined(() => (statSync(path).isFile() ? statSync(path).size : undefined)),
  hostNames: (path) => orUndefined(() => readdirSync(path).sort()),
  hostVariable: (name) => process.env[name],
  hostRead(path, offset, length) {
    const file = openSync(path);
    const bytes = new Uint8Array(length);
    const read = readSync(file, bytes, 0, length, offset);
    closeSync(file);
    if (read !== length)
      throw new Error(`${path}: found ${read} bytes at ${offset}, expected ${length}`);
    return bytes;
  },
});

/**
 * Builds the test programs and returns their wasm files by name. They replace Rust's test harness,
 * for which a stable compiler needs RUSTC_BOOTSTRAP.
 */
function build() {
  const parameters = [
    "build",
    "--locked",
    "--profile",
    "wasm-tests",
    "--target",
    TARGET,
    "--target-dir",
    targetFolder,
    "--message-format",
    "json",
  ];
  const lines = execFileSync(
    "cargo",
    [...parameters, ...PROGRAMS.flatMap((name) => ["--test", name])],
    {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, RUSTC_BOOTSTRAP: PROGRAMS.join(",") },
      maxBuffer: 1 << 28,
      stdio: ["ignore", "pipe", "inherit"],
    },
  ).split("\n");
  const artifacts = lines
    .filter(Boolean)
    .map((line) => JSON.parse(line))
    .filter((it) => it.executable && it.target.kind.includes("test"));
  return new Map(artifacts.map((it) => [it.target.name, it.executable]));
}

/** Returns a function that instantiates a program. */
async function prepare(wasm) {
  const name = basename(wasm, ".wasm");
  const folder = join(targetFolder, "glue", name);
  mkdirSync(folder, { recursive: true });
  execFileSync(bindgen, [wasm, folder, "program"], { stdio: "inherit" });
  const module = await WebAssembly.compile(readFileSync(join(folder, "program_bg.wasm")));
  let instances = 0;
  return async () => {
    const glue = await import(`${join(folder, "program.js")}?${(instances += 1)}`);
    // `main` registers the tests; the start function is the engine's.
    glue.initSync({ module }).main(0, 0);
    return glue;
  };
}

async function runProgram(name, wasm, wanted) {
  const instantiate = await prepare(wasm);
  let glue = await instantiate();
  const counts = { passed: 0, failed: 0 };
  const names = glue.testNames();
  for (const [index, test] of names.entries()) {
    if (wanted.length > 0 && !wanted.some((part) => test.includes(part))) continue;
    const start = performance.now();
    let failure;
    try {
      glue.runTest(index);
    } catch (error) {
      failure = error;
      glue = await instantiate();
      glue.testNames();
    }
    counts[failure ? "failed" : "passed"] += 1;
    console.log(
      `test ${name}::${test} ... ${failure ? `FAILED: ${failure}` : "ok"} ` +
        `(${Math.round(performance.now() - start)} ms)`,
    );
  }
  const result = counts.failed ? "FAILED" : "ok";
  console.log(`test result: ${result}. ${counts.passed} passed; ${counts.failed} failed\n`);
  return counts.failed === 0 && names.length > 0;
}

const programs = build();
let ok = programs.size === PROGRAMS.length;
for (const [name, wasm] of programs)
  ok = (await runProgram(name, wasm, process.argv.slice(2))) && ok;
process.exitCode = ok ? 0 : 1;
