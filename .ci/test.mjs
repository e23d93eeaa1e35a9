// Runs all checks and tests in steps and prints a summary. A step that runs a test runner counts
// its tests, any other step counts as one. A step marked `beside`, which leaves processors idle,
// runs at the same time as the steps after it; its output follows theirs. `node .ci/test.mjs
// PREFIX…` runs only the steps whose names have one of the prefixes; `--proof` runs the slow tests
// instead.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

process.chdir(join(import.meta.dirname, ".."));

const CACHE = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");
const PYTHON = join(CACHE, "python", "bin", "python");
const TSC = "pkg/node_modules/.bin/tsc";
const PRETTIER = "pkg/node_modules/.bin/prettier";
/**
 * Limits of a step, of one of `--proof`, and of a test file: many times what they take, and less
 * than a host of continuous integration allows, so that a run that hangs still says where.
 */
const MAX_STEP_MS = 40 * 60_000;
const MAX_PROOF_MS = 24 * 60 * 60_000;
const MAX_TEST_FILE_MS = 15 * 60_000;
/** Limit of the engine's download: JS and the largest wasm build, each compressed by gzip -9. */
const MAX_DOWNLOAD_BYTES = 1_250_000;
const DOWNLOADED_SCRIPTS = ["index.js", "worker.js"];
const WASM_BUILDS = "pkg/dist/wasm";

/** Full-size models that tests need, as arguments of make_full_size.py: headers, and few layers. */
const FULL_SIZE_MODELS = [
  ["nemotron4b", "--header"],
  ["nemotron4b", "--layers", "0,1,32", "--vocabulary", "1024"],
  ["minitron_width", "--header"],
  ["minitron_width", "--layers", "0,4", "--vocabulary", "1024"],
  // Those of the catalog, see tests/catalog.rs.
  ["qwen3_1.7b", "--format", "Q8_0", "--header"],
  ["qwen3_4b", "--header"],
  ["lfm3_1.7b", "--header"],
  ["granite4_350m", "--format", "Q8_0", "--header"],
  ["granite4_1b", "--header"],
  ["granite4_h_micro", "--header"],
  ["smollm3_3b", "--header"],
  ["phi4_mini", "--header"],
  ["llama3.2_1b", "--header"],
  ["minicpm5_1b", "--header"],
  ["smollm2_360m", "--format", "Q8_0", "--header"],
  ["gemma3_270m", "--format", "Q8_0", "--header"],
];

/** Parts of .ci/setup.sh that both tests and proofs need. */
const SETUP_PARTS = [
  "rust",
  "wasm-std",
  "wasm-bindgen",
  "npm",
  "model",
  "gemma",
  "minilm",
  "vocabularies",
  "llama-cpp",
  "python",
  "chromium",
  "vulkan",
];
// Steps; later steps do not run if a `needed` step fails.
const setup = () => ({ name: "setup", run: [".ci/setup.sh", ...SETUP_PARTS], needed: true });
const models = () => [
  { name: "derived-models", run: [PYTHON, "tests/data/make_models.py"] },
  { name: "tiny-models", run: [PYTHON, "tests/data/tiny/make_tiny.py"] },
  { name: "tiny-models", run: [PYTHON, "tests/data/tiny/make_embeddings.py"] },
  { name: "vocabularies", run: [PYTHON, "tests/data/text/make_vocabularies.py"] },
  ...FULL_SIZE_MODELS.map((parameters) => ({
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
const CLIPPY = ["cargo", "clippy", "--quiet", "--release", "--locked"];
const DENY_WARNINGS = ["--", "-D", "warnings"];

const tests = () => [
  setup(),
  { name: "format", run: ["cargo", "fmt", "--check"] },
  { name: "format-js", run: [PRETTIER, "--check", "--log-level", "warn", ...filesForPrettier()] },
  { name: "clippy", run: [...CLIPPY, "--all-targets", ...DENY_WARNINGS] },
  {
    name: "clippy-wasm",
    run: [...CLIPPY, "--target", "wasm32-unknown-unknown", "--lib", ...DENY_WARNINGS],
  },
  {
    name: "doc",
    run: ["cargo", "doc", "--quiet", "--release", "--locked", "--no-deps"],
    env: { RUSTDOCFLAGS: "-D warnings" },
  },
  ...models(),
  build(),
  { name: "web", run: nodeTest("tests/web"), count: countNode, beside: true },
  { name: "rust", run: CARGO_TEST, count: countCargo },
  {
    name: "typescript-generated",
    run: [...CARGO_TEST, "--features", "typescript", "--test", "typescript"],
    count: countCargo,
  },
  { name: "wasm", run: ["node", "tests/wasm/run.mjs"], count: countCargo },
  { name: "typescript-package", run: [TSC, "--noEmit", "--project", "pkg"] },
  { name: "typescript-page", run: [TSC, "--noEmit", "--project", "www"] },
  { name: "download-size", check: checkDownloadSize },
  { name: "supply", run: nodeTest("tests/supply"), count: countNode },
  { name: "fuzz", run: ["bash", "tests/fuzz/run.sh"], count: countFuzz },
  { name: "bench", run: nodeTest("tests/bench"), count: countNode },
  { name: "package", run: nodeTest("tests/package"), count: countNode },
];

/** Slow tests. FUZZ_SECONDS is the time for each fuzz target. */
const proofs = () =>
  [
    setup(),
    ...models(),
    build(),
    {
      name: "rust",
      run: [...CARGO_TEST, "--test", "golden"],
      env: { TABLM_PROOF: "1" },
      count: countCargo,
    },
    { name: "node", run: nodeTest("tests/proof", MAX_PROOF_MS), count: countNode },
    {
      name: "families-on-gpu",
      run: ["node", "--test", "--test-reporter=spec", "tests/web/families.test.mjs"],
      env: { ALL_FAMILIES_ON_GPU: "1" },
      count: countNode,
    },
    {
      name: "fuzz",
      run: ["bash", "tests/fuzz/run.sh", process.env.FUZZ_SECONDS || "600"],
      count: countFuzz,
    },
  ].map((step) => ({ ...step, limitMs: MAX_PROOF_MS }));

/** Returns the files in git that prettier formats; .prettierignore lists exceptions. */
function filesForPrettier() {
  const parameters = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  return execFileSync("git", parameters, { encoding: "utf8" })
    .split("\0")
    .filter(
      (file) => /\.(ts|mjs|js|css|html)$|(^|\/)package\.json$/.test(file) && existsSync(file),
    );
}

/** Returns the command that runs a folder's test files one by one: browsers use all cores. */
function nodeTest(folder, limitMs = MAX_TEST_FILE_MS) {
  const files = readdirSync(folder).filter((file) => file.endsWith(".test.mjs"));
  const paths = files.map((file) => join(folder, file));
  const options = ["--test-concurrency=1", "--test-reporter=spec"];
  return ["node", "--test", `--test-timeout=${limitMs}`, ...options, ...paths];
}

/** Counts the tests in the `test result:` lines of cargo test, one per binary. */
function countCargo(output) {
  const counts = { passed: 0, failed: 0 };
  for (const match of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)) {
    counts.passed += Number(match[1]);
    counts.failed += Number(match[2]);
  }
  return counts;
}

/** Counts the tests in the summary of node:test. */
function countNode(output) {
  const number = (word) =>
    Number(output.match(new RegExp(`^(?:ℹ|#) ${word} (\\d+)$`, "m"))?.[1] ?? 0);
  return { passed: number("pass"), failed: number("fail") + number("cancelled") };
}

/** Counts the targets in the output of tests/fuzz/run.sh. */
function countFuzz(output) {
  const count = (pattern) => output.match(pattern)?.length ?? 0;
  return { passed: count(/^fuzz: \w+ for \d+ s$/gm), failed: count(/^fuzz: \w+ failed/gm) };
}

/** Prints the compressed sizes of files of the package, and returns their sum. */
function compressedBytes(files) {
  const sizes = files.map((file) => {
    const size = gzipSync(readFileSync(join("pkg/dist", file)), { level: 9 }).length;
    console.log(`${file.padEnd(30)} ${size.toLocaleString("en")} bytes`);
    return size;
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

function checkDownloadSize() {
  const builds = readdirSync(WASM_BUILDS).map((build) =>
    compressedBytes([`wasm/${build}/tablm.js`, `wasm/${build}/tablm_bg.wasm`]),
  );
  const total = compressedBytes(DOWNLOADED_SCRIPTS) + Math.max(...builds);
  const limit = MAX_DOWNLOAD_BYTES.toLocaleString("en");
  console.log(
    `with the largest build: found ${total.toLocaleString("en")} bytes, expected at most ${limit}`,
  );
  return total <= MAX_DOWNLOAD_BYTES;
}

/** Commands that run, each with its output so far if that was not printed. */
const running = new Map();

/** Runs a command and resolves to its output, also printed if `live`, and whether it succeeded. */
function runCommand([command, ...parameters], { env, live, limitMs }) {
  return new Promise((resolve) => {
    // With a process group of its own, so that what it started ends with it.
    const child = spawn(command, parameters, {
      env: { ...process.env, CARGO_TERM_COLOR: "never", ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let output = "";
    const end = (ok) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ ok, output });
    };
    const timer = setTimeout(() => {
      output += `\nstopped: ran longer than ${limitMs / 60_000} minutes\n`;
      stop(child);
    }, limitMs);
    running.set(child, () => (live ? "" : output));
    for (const [stream, target] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        output += text;
        if (live) target.write(text);
      });
    }
    child.on("error", (error) => {
      output += String(error);
      end(false);
    });
    child.on("close", (status) => end(status === 0));
  });
}

/** Ends a command and all that it started. */
function stop(child) {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

/** Ends all commands and this program, after printing what they said and was not shown yet. */
function stopAll() {
  for (const [child, outputSoFar] of running) {
    stop(child);
    console.log(outputSoFar());
  }
  console.log("stopped by a signal");
  process.exit(1);
}

async function runStep(step) {
  const name = step.name.padEnd(20);
  const start = performance.now();
  if (!step.beside) console.log(`\n== ${step.name}`);
  let [ok, output, counts] = [false, "", undefined];
  try {
    if (step.check) ok = step.check();
    else {
      const limitMs = step.limitMs ?? MAX_STEP_MS;
      const options = { env: step.env, live: !step.beside, limitMs };
      ({ ok, output } = await runCommand(step.run, options));
    }
    counts = step.count?.(output);
  } catch (error) {
    console.log(String(error));
  }
  counts ??= { passed: ok ? 1 : 0, failed: ok ? 0 : 1 };
  // A runner that crashed before its summary, or ran no tests, counts as a failure.
  if ((!ok || counts.passed === 0) && counts.failed === 0) counts.failed = 1;
  const seconds = ((performance.now() - start) / 1000).toFixed(1).padStart(7);
  const line = `${name} ${seconds} s  ${counts.passed} passed, ${counts.failed} failed`;
  return { ...counts, line, output };
}

async function main() {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stopAll);
  const parameters = process.argv.slice(2);
  const prefixes = parameters.filter((name) => name !== "--proof");
  const all = parameters.includes("--proof") ? proofs() : tests();
  const wanted = ({ name }) =>
    prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix));
  const results = [];
  const beside = [];
  for (const step of all.filter(wanted)) {
    if (step.beside) {
      beside.push(runStep(step));
      continue;
    }
    const result = await runStep(step);
    console.log(`-- ${result.line}`);
    results.push(result);
    if (step.needed && result.failed > 0) {
      console.log(`stopping: later steps need ${step.name}`);
      break;
    }
  }
  for (const result of await Promise.all(beside)) {
    console.log(`\n${result.output}-- ${result.line}`);
    results.push(result);
  }
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  const [passed, failed] = [sum("passed"), sum("failed")];
  console.log(`\n== summary\n${results.map(({ line }) => line).join("\n")}\n`);
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}

await main();
