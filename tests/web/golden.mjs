// Golden answers of the default model: greedy, by Hugging Face transformers with f32 weights.

import assert from "node:assert/strict";
import { modelName, readJson } from "./support.mjs";

/** URL of the default model on the test's server. */
export const MODEL = `/models/${modelName}`;

/** The prompts and their answers. */
export const golden = readJson("tests", "data", "golden", "smollm2.json");

/** A request for the answer to a golden prompt. */
export function goldenRequest(prompt) {
  const { length } = golden.hf_f32.prompts[prompt.id].gen_ids;
  return { messages: prompt.messages, temperature: 0, max_completion_tokens: length };
}

/**
 * Checks that an answer has exactly the reference's ids: the two best logits of these prompts are
 * never closer than 0.006.
 */
export function checkGolden(prompt, answer) {
  const { gen_ids: ids, gen_text: text } = golden.hf_f32.prompts[prompt.id];
  assert.ok(answer.choices, JSON.stringify(answer));
  const { message, finish_reason } = answer.choices[0];
  assert.deepEqual(answer.token_ids, ids);
  // The reference keeps the stop token, and U+FFFD for an incomplete character at the end.
  assert.equal(message.content, text.replace(/<\|im_end\|>$/, "").replace(/\ufffd+$/, ""));
  assert.equal(answer.usage.prompt_tokens, prompt.prompt_ids.length);
  assert.equal(answer.usage.completion_tokens, ids.length);
  assert.equal(finish_reason, text.endsWith("<|im_end|>") ? "stop" : "length");
}
