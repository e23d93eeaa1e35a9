// Paths of the model that every contender loads and of the native binary, and the prompt.

import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export const root = join(import.meta.dirname, "..", "..");
export const modelName = "SmolLM2-135M-Instruct.Q4_1.gguf";
export const modelPath = join(
  process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm"),
  "models",
  modelName,
);
export const nativeBinary = join(
  process.env.CARGO_TARGET_DIR || join(root, "target"),
  "release",
  "tablm",
);
/** Context length of every contender, in tokens. */
export const CONTEXT_LENGTH = 1024;

/** Reads the peers' prompt: 512 token ids, and the text that encodes to them. */
export function readPrompt() {
  const { ids, text } = JSON.parse(
    readFileSync(join(root, "tests", "data", "golden", "smollm2.json"), "utf8"),
  ).prefill512;
  return { ids, text };
}
