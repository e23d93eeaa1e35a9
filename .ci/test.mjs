// Every check and test, one step after another; the last line sums them up.
// A step that runs a test runner counts that runner's tests, any other step counts as one.
// `node .ci/test.mjs NAME…` runs only the steps whose names begin so; `--proof` takes the slow proofs instead.

import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

process.chdir(join(import.meta.dirname, ".."));

const CACHE = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");
const PYTHON = join(CACHE, "python", "bin", "python");
const TSC = "pkg/node_modules/.bin/tsc";
/** The engine's download, wasm and JS each through gzip -9: of the builds a browser takes one. */
const DOWNLOAD_LIMIT_BYTES = 1_200_000;
const DOWNLOAD = ["index.js", "worker.js"];
const BUILDS = "pkg/dist/wasm";

/** What tests need of the models of real sizes: headers, and cuts. */
const FULL_SIZE = [
  ["nemotron4b", "--header"],
  ["nemotron4b", "--layers", "0,1,32", "--vocabulary", "1024"],
  ["minitron_width", "--header"],
  ["minitron_width", "--layers", "0,4", "--vocabulary", "1024"],
];

/** What both need: everything that is fetched, and what is made of it. */
const SETUP = [
  "rust",
  "wasm-std",
  "wasm-bindgen",
  "npm",
  "model",
  "gemma",
  "vocabularies",
  "python",
  "chromium",
  "vulkan",
];
const setup = (...more) => ({
  name: "setup",
  run: [".ci/setup.sh", ...SETUP, ...more],
  needed: true,
});
const models = () => [
  {
    name: "derived-models",
    run: [PYTHON, "tests/data/make_models.py"],
    when: "tests/data/make_models.py",
  },
  { name: "tiny-models", run: [PYTHON, "tests/data/tiny/make_tiny.py"] },
  { name: "vocabularies", run: [PYTHON, "tests/data/text/make_vocabularies.py"] },
  ...FULL_SIZE.map((parameters) => ({
    name: "full-size-models",
    run: [PYTHON, "tests/data/make_full_size.py", ...parameters],
  })),
];
const build = () => ({
  name: "build",
  run: [".ci/build.sh", "native", "package", "page"],
  needed: true,
});
const CARGO_TEST = ["cargo", "test", "--release", "--locked", "--no-fail-fast"];

const tests = () => [
  setup(),
  { name: "format", run: ["cargo", "fmt", "--check"] },
  {
    name: "clippy",
    run: [
      "cargo",
      "clippy",
      "--quiet",
      "--release",
      "--locked",
      "--all-targets",
      "--",
      "-D",
      "warnings",
    ],
  },
  {
    name: "clippy-wasm",
    run: [
      "cargo",
      "clippy",
      "--quiet",
      "--release",
      "--locked",
      "--target",
      "wasm32-unknown-unknown",
      "--lib",
      "--",
      "-D",
      "warnings",
    ],
  },
  {
    name: "doc",
    run: ["cargo", "doc", "--quiet", "--release", "--locked", "--no-deps"],
    env: { RUSTDOCFLAGS: "-D warnings" },
  },
  ...models(),
  { name: "rust", run: CARGO_TEST, count: countCargo },
  { name: "wasm", run: ["node", "tests/wasm/run.mjs"], count: countCargo },
  build(),
  { name: "typescript-package", run: [TSC, "--noEmit", "--project", "pkg"] },
  { name: "typescript-page", run: [TSC, "--noEmit", "--project", "www"] },
  { name: "download-size", check: checkDownloadSize },
  { name: "supply", run: nodeTest("tests/supply"), count: countNode },
  { name: "fuzz", run: ["bash", "tests/fuzz/run.sh"], count: countFuzz },
  { name: "bench", run: nodeTest("tests/bench"), count: countNode },
  { name: "package", run: nodeTest("tests/package"), count: countNode, when: "tests/package" },
  { name: "web", run: nodeTest("tests/web"), count: countNode },
];

/** What takes long: every one a test with a bound. FUZZ_SECONDS is for each target. */
const proofs = () => [
  setup("llama-cpp"),
  ...models(),
  build(),
  {
    name: "rust",
    run: [...CARGO_TEST, "--test", "golden"],
    env: { TABLM_PROOF: "1" },
    count: countCargo,
  },
  { name: "node", run: nodeTest("tests/proof"), count: countNode },
  {
    name: "fuzz",
    run: ["bash", "tests/fuzz/run.sh", process.env.FUZZ_SECONDS || "600"],
    count: countFuzz,
  },
];

/** The test files of a folder, one after another: two cores, and browsers to share them. */
function nodeTest(folder) {
  const files = existsSync(folder)
    ? readdirSync(folder).filter((file) => file.endsWith(".test.mjs"))
    : [];
  return [
    "node",
    "--test",
    "--test-concurrency=1",
    "--test-reporter=spec",
    ...files.map((file) => join(folder, file)),
  ];
}

/** cargo test prints one `test result:` line for each binary. */
function countCargo(output) {
  const counts = { passed: 0, failed: 0 };
  for (const match of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)) {
    counts.passed += Number(match[1]);
    counts.failed += Number(match[2]);
  }
  return counts;
}

/** node:test's closing summary. */
function countNode(output) {
  const number = (word) =>
    Number(output.match(new RegExp(`^(?:ℹ|#) ${word} (\\d+)$`, "m"))?.[1] ?? 0);
  return { passed: number("pass"), failed: number("fail") + number("canceled") };
}

/** The fuzz script's line for each target. */
function countFuzz(output) {
  const count = (pattern) => output.match(pattern)?.length ?? 0;
  return { passed: count(/^fuzz: \w+ for \d+ s$/gm), failed: count(/^fuzz: \w+ failed/gm) };
}

/** Bytes of some files of the package as they are sent. */
function sentBytes(files) {
  const sizes = files.map((file) => {
    const size = gzipSync(readFileSync(join("pkg/dist", file)), { level: 9 }).length;
    console.log(`${file.padEnd(30)} ${size.toLocaleString("en")} bytes`);
    return size;
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

function checkDownloadSize() {
  const builds = readdirSync(BUILDS).map((build) =>
    sentBytes([`wasm/${build}/tablm.js`, `wasm/${build}/tablm_bg.wasm`]),
  );
  const total = sentBytes(DOWNLOAD) + Math.max(...builds);
  console.log(
    `together, with the largest build, ${total.toLocaleString("en")} bytes, at most ${DOWNLOAD_LIMIT_BYTES.toLocaleString("en")}`,
  );
  return total <= DOWNLOAD_LIMIT_BYTES;
}

/** Runs a command, shows what it prints, and gives it back with the exit status. */
function runCommand([command, ...parameters], env) {
  return new Promise((resolve) => {
    const child = spawn(command, parameters, {
      env: { ...process.env, CARGO_TERM_COLOR: "never", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const [stream, target] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        output += text;
        target.write(text);
      });
    }
    child.on("error", (error) => resolve({ ok: false, output: String(error) }));
    child.on("close", (status) => resolve({ ok: status === 0, output }));
  });
}

async function runStep(step) {
  if (step.check) return step.check() ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
  const { ok, output } = await runCommand(step.run, step.env);
  const counts = step.count?.(output) ?? { passed: ok ? 1 : 0, failed: ok ? 0 : 1 };
  // A runner that died before its summary, or ran nothing, has failed all the same.
  if ((!ok || counts.passed === 0) && counts.failed === 0) counts.failed = 1;
  return counts;
}

async function main() {
  const parameters = process.argv.slice(2);
  const wanted = parameters.filter((name) => name !== "--proof");
  const steps = parameters.includes("--proof") ? proofs() : tests();
  const total = { passed: 0, failed: 0 };
  const summary = [];
  for (const step of steps) {
    if (wanted.length > 0 && !wanted.some((name) => step.name.startsWith(name))) continue;
    if (step.when && !existsSync(step.when)) continue;
    console.log(`\n== ${step.name}`);
    const start = performance.now();
    let counts;
    try {
      counts = await runStep(step);
    } catch (error) {
      console.log(String(error));
      counts = { passed: 0, failed: 1 };
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    summary.push(
      `${step.name.padEnd(20)} ${seconds.padStart(7)} s  ${counts.passed} passed, ${counts.failed} failed`,
    );
    console.log(`-- ${summary.at(-1)}`);
    total.passed += counts.passed;
    total.failed += counts.failed;
    if (step.needed && counts.failed > 0) {
      console.log(`stopping: nothing after ${step.name} can work`);
      break;
    }
  }
  console.log(`\n== summary\n${summary.join("\n")}\n`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
}

await main();
