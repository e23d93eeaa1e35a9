// Installs the peers on first use: npm packages pinned by the lock file of this folder, and for
// transformers.js the model in ONNX format.

import { execFile } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { modelPath } from "./model.mjs";

const here = import.meta.dirname;
const CACHE = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");
const PYTHON = join(CACHE, "python", "bin", "python");

function isCurrent(file, stamp) {
  try {
    return readFileSync(file).equals(readFileSync(stamp));
  } catch {
    return false;
  }
}

/** Runs an installer, unless the stamp shows that it ran for the current version of `file`. */
async function install(what, [file, stamp], program, parameters) {
  if (isCurrent(file, stamp)) return;
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
      `${what} could not be installed: ${line} ` +
        `(by hand, in tests/bench: ${program} ${parameters.join(" ")})`,
    );
  }
  copyFileSync(file, stamp);
}

// Without the packages' own scripts: all that is needed is prebuilt.
const NPM = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
let installing;

/** Installs the peers' packages once; if that fails, no peer runs. */
export function installPeers() {
  const files = ["package-lock.json", "node_modules/.installed"].map((file) => join(here, file));
  return (installing ??= install("the peers' npm packages (about 340 MB)", files, "npm", NPM));
}

/** Returns the folder of a peer's package. */
export function peerFolder(name) {
  return join(here, "node_modules", name);
}

/**
 * Returns a folder that contains the folder `name` with the model as transformers.js expects it.
 */
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
