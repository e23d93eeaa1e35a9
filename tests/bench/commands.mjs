// The commands that the benchmark runs: TabLM's command line, and the scripts that make models.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { PYTHON, nativeBinary, root } from "./model.mjs";

/** Context length of all measurements without peers, in tokens. */
export const LONG_CONTEXT_LENGTH = 4096;

async function run(program, parameters, env = {}) {
  const options = { cwd: root, env: { ...process.env, ...env }, maxBuffer: 1 << 28 };
  const { stdout } = await promisify(execFile)(program, parameters.map(String), options);
  return stdout;
}

/**
 * Returns options as command-line arguments: `{ promptTokens: 64, profile: true }` as
 * `--prompt-tokens 64 --profile`.
 */
export function flags(options) {
  return Object.entries(options).flatMap(([name, value]) => {
    const flag = `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return value === true ? [flag] : [flag, String(value)];
  });
}

/** Runs a command of the native binary, such as `["inspect", file]`, and returns its report. */
export async function tablm(command, options = {}, env = {}) {
  const all = { context: LONG_CONTEXT_LENGTH, ...options, json: true };
  return JSON.parse(await run(nativeBinary, [...command, ...flags(all)], env));
}

/** Runs a Python script and returns what it prints: the path of the model that it made. */
export async function python(script, ...parameters) {
  return (await run(PYTHON, [script, ...parameters])).trim();
}

/** Makes a full-size model, or a part of it, and returns its path. */
export const makeModel = (name, ...parameters) =>
  python("tests/data/make_full_size.py", name, ...parameters);

/** Makes the header of a full-size model, without the weights, and returns its path. */
export const makeHeader = (name) => makeModel(name, "--header");
