// A long conversation with a hybrid that reasons, in Chromium on one thread of the CPU: the time to
// the first token of the tenth turn, which goes back to a snapshot, as a share of the time that
// reading the same prompt from its beginning takes. The model is a cut of Nemotron 3 Nano 4B, whose
// template drops the reasoning of earlier turns.

import { basename, join } from "node:path";
import { readFileSync } from "node:fs";
import { fileRoute, openHarness } from "../web/support.mjs";
import { makeModel } from "./commands.mjs";
import { root } from "./model.mjs";

const TURNS = 10;
const CONTEXT_LENGTH = 4600;
/** Words of each question; the small vocabulary has a token for each of their letters. */
const WORDS = 66;
const RUNS = 3;
const TEMPLATE = join(root, "tests", "data", "text", "templates", "nemotron.jinja");

/** Runs in the page: one conversation, and its last prompt again without what was read before. */
async function measureTurns({ TabLM }, { url, template, contextLength, turns, words }) {
  const options = { device: "cpu", contextLength, threads: 1, chatTemplate: template };
  const model = await TabLM.load(url, options);
  const answer = (messages) =>
    model.chat.completions.create({
      messages,
      temperature: 0,
      max_completion_tokens: 16,
      reasoning_effort: "high",
    });
  const question = (turn) => ({ role: "user", content: `${turn} ` + "abc ".repeat(words) });
  const messages = [{ role: "system", content: "Answer in short sentences. ".repeat(16) }];
  let last;
  for (let turn = 1; turn <= turns; turn += 1) {
    messages.push(question(turn));
    last = await answer(messages);
    messages.push({ role: "assistant", content: "An answer without its reasoning." });
  }
  messages.pop();
  // Another conversation takes the place of this one.
  await answer([question(0)]);
  const whole = await answer(messages);
  await model.dispose();
  return [last, whole].map(({ usage, timings, token_ids }) => ({ usage, timings, token_ids }));
}

/** The part of the benchmark (see parts.mjs). */
export const sessions = {
  name: "sessions",
  minutes: 5,
  keys: [
    "sessions.turn10_ttft_ratio",
    "sessions.turn10_ttft_ms",
    "sessions.turn10_read_tokens",
    "sessions.turn10_prompt_tokens",
  ],
  async measure(put) {
    const file = await makeModel("nemotron4b", "--layers", "0,1,2,32", "--vocabulary", 1024);
    const url = `/models/${basename(file)}`;
    const harness = await openHarness({ routes: { [url]: fileRoute(file) } });
    try {
      const template = readFileSync(TEMPLATE, "utf8");
      const options = {
        url,
        template,
        contextLength: CONTEXT_LENGTH,
        turns: TURNS,
        words: WORDS,
      };
      const runs = [];
      for (let run = 0; run < RUNS; run += 1) {
        const [turn, whole] = await harness.run(measureTurns, options);
        if (JSON.stringify(turn.token_ids) !== JSON.stringify(whole.token_ids))
          throw new Error("sessions: found different answers to the same prompt");
        runs.push({ turn, whole });
      }
      const [{ turn }] = runs;
      const { prompt_tokens, prompt_tokens_details } = turn.usage;
      put("sessions.turn10_prompt_tokens", prompt_tokens, "tokens");
      put(
        "sessions.turn10_read_tokens",
        prompt_tokens - prompt_tokens_details.cached_tokens,
        "tokens",
      );
      const first = (answer) => answer.timings.first_token_ms;
      put(
        "sessions.turn10_ttft_ms",
        runs.map((run) => first(run.turn)),
        "ms",
      );
      put(
        "sessions.turn10_ttft_ratio",
        runs.map((run) => first(run.turn) / first(run.whole)),
        "ratio",
      );
    } finally {
      await harness.close();
    }
  },
};
