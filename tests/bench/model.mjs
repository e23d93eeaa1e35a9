// Paths of the benchmark, and the prompt of all contenders.

import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export const root = join(import.meta.dirname, "..", "..");
/** Folder of downloaded and generated files. */
export const CACHE = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");
/** Python with the packages of tests/requirements.txt. */
export const PYTHON = join(CACHE, "python", "bin", "python");
/** The model that every contender loads. */
export const modelName = "SmolLM2-135M-Instruct.Q4_1.gguf";
export const modelPath = join(CACHE, "models", modelName);
const targetFolder = process.env.CARGO_TARGET_DIR || join(root, "target");
export const nativeBinary = join(targetFolder, "release", "tablm");
/** Context length of every contender, in tokens. */
export const CONTEXT_LENGTH = 1024;

/** Reads the peers' prompt: 512 token ids, and the text that encodes to them. */
export function readPrompt() {
  const file = join(root, "tests", "data", "golden", "smollm2.json");
  const { ids, text } = JSON.parse(readFileSync(file, "utf8")).prefill512;
  return { ids, text };
}

/** Returns a part of the prompt's text that encodes to about `tokens` tokens. */
export function promptText(tokens) {
  const { ids, text } = readPrompt();
  return text.slice(0, Math.round((text.length * tokens) / ids.length));
}
