// Test programs as wasm32, the product's target, with its stack of 1 MiB, in Node: `run.mjs [NAME…]` runs the tests
// whose names hold one of these. A test that fails traps, which is the end of its instance: the next one gets a new.

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

const PROGRAMS = ["text", "weights", "models", "limits"];
const TARGET = "wasm32-unknown-unknown";
const root = join(import.meta.dirname, "..", "..");
const targetFolder = join(process.env.CARGO_TARGET_DIR || join(root, "target"), "wasm-tests");
const cache = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");
const version = /^wasm-bindgen = "=(.*)"$/m.exec(readFileSync(join(root, "Cargo.toml"), "utf8"))[1];
const bindgen = join(cache, "tools", `wasm-bindgen-${version}`, "bin", "wasm-bindgen-step");

/** What tests/common/files.rs asks for. */
const orNothing = (get) => {
  try {
    return get();
  } catch {
    return undefined;
  }
};
Object.assign(globalThis, {
  hostSize: (path) => orNothing(() => (statSync(path).isFile() ? statSync(path).size : undefined)),
  hostNames: (path) => orNothing(() => readdirSync(path).sort()),
  hostVariable: (name) => process.env[name],
  hostRead(path, offset, length) {
    const file = openSync(path);
    const bytes = new Uint8Array(length);
    const read = readSync(file, bytes, 0, length, offset);
    closeSync(file);
    if (read !== length) throw new Error(`${path}: ${read} bytes from ${offset}, not ${length}`);
    return bytes;
  },
});

/** Builds the programs; cargo names their files. The harness of tests is replaced, which stable Rust does if told to. */
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

/** A program's glue and compiled wasm. */
async function prepare(wasm) {
  const name = basename(wasm, ".wasm");
  const folder = join(targetFolder, "glue", name);
  mkdirSync(folder, { recursive: true });
  execFileSync(bindgen, [wasm, folder, "program"], { stdio: "inherit" });
  const module = await WebAssembly.compile(readFileSync(join(folder, "program_bg.wasm")));
  let instances = 0;
  return async () => {
    const glue = await import(`${join(folder, "program.js")}?${(instances += 1)}`);
    // Its `main` takes note of the tests; the start function is the engine's.
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
      `test ${name}::${test} ... ${failure ? `FAILED: ${failure}` : "ok"} (${Math.round(performance.now() - start)} ms)`,
    );
  }
  console.log(
    `test result: ${counts.failed ? "FAILED" : "ok"}. ${counts.passed} passed; ${counts.failed} failed\n`,
  );
  return counts.failed === 0 && names.length > 0;
}

const programs = build();
let ok = programs.size === PROGRAMS.length;
for (const [name, wasm] of programs)
  ok = (await runProgram(name, wasm, process.argv.slice(2))) && ok;
process.exitCode = ok ? 0 : 1;
