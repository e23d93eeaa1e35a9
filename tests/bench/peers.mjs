// Installs the peers on first use: npm packages pinned by the lock file of this folder, and for
// transformers.js the model in ONNX format.

import { execFile } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { CACHE, PYTHON, modelPath } from "./model.mjs";

const here = import.meta.dirname;
const runProgram = promisify(execFile);

/** True if the stamp, a copy of the file at the last installation, equals the file. */
function isCurrent(file, stamp) {
  try {
    return readFileSync(file).equals(readFileSync(stamp));
  } catch {
    return false;
  }
}

/** Runs an installer and then copies `file` to `stamp`, unless the two are equal already. */
async function install(what, { file, stamp }, program, parameters) {
  if (isCurrent(file, stamp)) return;
  process.stderr.write(`bench: installing ${what}\n`);
  try {
    await runProgram(program, parameters, { cwd: here });
  } catch (error) {
    const lines = (error.stderr ?? "").trim().split("\n");
    const problem = lines.find((line) => /error/i.test(line)) ?? error.message;
    throw new Error(
      `${what} could not be installed: ${problem} ` +
        `(by hand, in tests/bench: ${program} ${parameters.join(" ")})`,
    );
  }
  copyFileSync(file, stamp);
}

// The packages' install scripts are not needed: node-llama-cpp's binaries are prebuilt.
const NPM = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
let installing;

/** Installs the peers' packages once; every call rejects if that fails. */
export function installPeers() {
  const files = {
    file: join(here, "package-lock.json"),
    stamp: join(here, "node_modules/.installed"),
  };
  return (installing ??= install("the peers' npm packages (about 340 MB)", files, "npm", NPM));
}

/** Returns the folder of a peer's package. */
export function peerFolder(name) {
  return join(here, "node_modules", name);
}

/** Returns a folder that contains the model as transformers.js expects it, in the folder `name`. */
export async function onnxModel(name) {
  const folder = join(CACHE, "onnx");
  if (!existsSync(join(folder, name))) {
    const file = join(here, "requirements.txt");
    const files = { file, stamp: join(CACHE, "python", ".bench-installed") };
    const pip = ["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"];
    const parameters = [...pip, "--requirement", file];
    await install("the Python packages of tests/bench/requirements.txt", files, PYTHON, parameters);
    const unfinished = join(folder, `${name}.new`);
    rmSync(unfinished, { recursive: true, force: true });
    await runProgram(PYTHON, [join(here, "contenders/make_onnx.py"), modelPath, unfinished]);
    renameSync(unfinished, join(folder, name));
  }
  return folder;
}
