// The peers' npm packages: pinned by the lock file of this folder, installed when first needed.

import { execFile } from "node:child_process";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const here = import.meta.dirname;
const LOCK = join(here, "package-lock.json");
const STAMP = join(here, "node_modules", ".installed");

let installing;

function isInstalled() {
  try {
    return readFileSync(LOCK).equals(readFileSync(STAMP));
  } catch {
    return false;
  }
}

async function install() {
  if (isInstalled()) return;
  process.stderr.write("bench: installing the peers' npm packages (about 180 MB)\n");
  try {
    // No package's own scripts: what is needed is prebuilt.
    await promisify(execFile)("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: here });
  } catch (error) {
    const line = error.stderr?.trim().split("\n").find((text) => text.includes("error")) ?? error.message;
    throw new Error(`the peers could not be installed (npm ci --prefix tests/bench): ${line}`);
  }
  copyFileSync(LOCK, STAMP);
}

/** Installs the peers, once; a failure is every peer's reason not to run. */
export function installPeers() {
  return (installing ??= install());
}

/** The folder of a peer's package. */
export function peerFolder(name) {
  return join(here, "node_modules", name);
}
