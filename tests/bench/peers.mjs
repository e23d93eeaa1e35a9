// What the peers need: npm packages, pinned by the lock file of this folder, and one of them a model
// of its own format. Each is made when it is first needed.

import { execFile } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { modelPath } from "./model.mjs";

const here = import.meta.dirname;
const CACHE = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");
const PYTHON = join(CACHE, "python", "bin", "python");

function same(file, stamp) {
  try {
    return readFileSync(file).equals(readFileSync(stamp));
  } catch {
    return false;
  }
}

/** Runs what installs something, unless the stamp says that it is there. */
async function install(what, [file, stamp], program, parameters) {
  if (same(file, stamp)) return;
  process.stderr.write(`bench: installing ${what}\n`);
  try {
    await promisify(execFile)(program, parameters, { cwd: here });
  } catch (error) {
    const line =
      error.stderr
        ?.trim()
        .split("\n")
        .find((text) => /error/i.test(text)) ?? error.message;
    throw new Error(
      `${what} could not be installed (${program} ${parameters.join(" ")}, in tests/bench): ${line}`,
    );
  }
  copyFileSync(file, stamp);
}

// No package's own scripts: what is needed is prebuilt.
const NPM = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
let installing;

/** Installs the peers, once; a failure is every peer's reason not to run. */
export function installPeers() {
  const files = ["package-lock.json", "node_modules/.installed"].map((file) => join(here, file));
  return (installing ??= install("the peers' npm packages (about 340 MB)", files, "npm", NPM));
}

/** The folder of a peer's package. */
export function peerFolder(name) {
  return join(here, "node_modules", name);
}

/** A folder with the folder `name`, which has the model as transformers.js wants it. */
export async function onnxModel(name) {
  const folder = join(CACHE, "onnx");
  if (!existsSync(join(folder, name))) {
    const files = [join(here, "requirements.txt"), join(CACHE, "python", ".bench-installed")];
    const parameters = [
      "-m",
      "pip",
      "install",
      "--quiet",
      "--require-hashes",
      "--only-binary",
      ":all:",
      "--requirement",
      files[0],
    ];
    await install("the Python packages of tests/bench/requirements.txt", files, PYTHON, parameters);
    const unfinished = join(folder, `${name}.new`);
    rmSync(unfinished, { recursive: true, force: true });
    await promisify(execFile)(PYTHON, [
      join(here, "contenders", "make_onnx.py"),
      modelPath,
      unfinished,
    ]);
    renameSync(unfinished, join(folder, name));
  }
  return folder;
}
