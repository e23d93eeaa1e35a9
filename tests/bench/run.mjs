// The benchmark: TabLM and its peers on the same model file, then measurements of TabLM alone.
// Usage: `node tests/bench/run.mjs [--only PREFIX] [--prompt-tokens N] [--generate-tokens N]`.
//
// Contenders take turns, so that a busy machine affects all of them; the CPU time that other
// programs use during a run is measured and shown. Environment variables:
// - BENCH_RUNS: runs of each contender (5)
// - BENCH_MINUTES: time for all contenders (30); slow contenders get fewer runs
// - BENCH_WAIT: longest wait before a run for other programs to become idle, in seconds (20)

import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { contenders } from "./contenders/index.mjs";
import { BUSY_CORES, Interval, machineLine } from "./machine.mjs";
import { modelPath, root } from "./model.mjs";
import { measurePart, partLines, parts, partWanted } from "./parts.mjs";
import { contenderWanted, ratios, readResults, record, writeResults } from "./results.mjs";
import { renderTable } from "./table.mjs";

const STANDARD = { promptTokens: 512, generateTokens: 128 };
/** A contender that would decode for longer generates fewer tokens, down to `MIN_TOKENS`. */
const MAX_DECODE_S = 20;
const MIN_TOKENS = 4;
/** A contender whose run takes longer is ended. */
const MAX_RUN_MS = 480_000;
const MAX_CLOSE_MS = 20_000;
/** Time that other programs must have been idle before a run. */
const QUIET_MS = 3000;
const WARM_UP = { promptTokens: 64, generateTokens: 8 };

process.chdir(root);

function positive(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`${name}: found ${text}, expected a positive integer`);
  return value;
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "" },
      "prompt-tokens": { type: "string", default: String(STANDARD.promptTokens) },
      "generate-tokens": { type: "string", default: String(STANDARD.generateTokens) },
    },
  });
  const promptTokens = positive("--prompt-tokens", values["prompt-tokens"]);
  if (promptTokens < 32 || promptTokens > STANDARD.promptTokens) {
    throw new Error(
      `--prompt-tokens: found ${promptTokens}, expected 32 to ${STANDARD.promptTokens}`,
    );
  }
  const generateTokens = positive("--generate-tokens", values["generate-tokens"]);
  if (generateTokens < 2 || generateTokens > 400) {
    throw new Error(`--generate-tokens: found ${generateTokens}, expected 2 to 400`);
  }
  return {
    only: values.only,
    promptTokens,
    generateTokens,
    runs: positive("BENCH_RUNS", process.env.BENCH_RUNS || "5"),
    minutes: positive("BENCH_MINUTES", process.env.BENCH_MINUTES || "30"),
    waitSeconds: positive("BENCH_WAIT", process.env.BENCH_WAIT || "20"),
    standard: promptTokens === STANDARD.promptTokens && generateTokens === STANDARD.generateTokens,
  };
}

function say(text) {
  process.stderr.write(`bench: ${text}\n`);
}

/** Resolves like `promise`, or rejects when it takes longer than `limitMs`. */
function withTimeout(promise, what, limitMs = MAX_RUN_MS) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what} took longer than ${limitMs / 1000} s`)),
      limitMs,
    );
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

/** Returns an error's message on one line, at most 200 characters long. */
function errorLine(error) {
  const text = String(error?.message ?? error)
    .replaceAll(/\s+/g, " ")
    .trim();
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

async function closeSession(entry) {
  const { session } = entry;
  entry.session = undefined;
  if (!session) return;
  await withTimeout(session.close(), "closing", MAX_CLOSE_MS).catch((error) =>
    say(`${entry.name}: ${errorLine(error)}`),
  );
}

/** Loads the model, warms up, and sets the number of tokens that this contender generates. */
async function openSession(entry, options) {
  say(`${entry.name}: loading`);
  try {
    entry.session = await withTimeout(entry.start(), "loading");
    entry.device = entry.session.device;
    entry.notes = entry.session.notes;
    const warm = await withTimeout(entry.session.run(WARM_UP), "the warm-up");
    const affordable = Math.floor((MAX_DECODE_S * 1000 * warm.decodeTokens) / warm.decodeMs);
    entry.generateTokens = Math.min(Math.max(affordable, MIN_TOKENS), options.generateTokens);
  } catch (error) {
    entry.failure = errorLine(error);
    say(`${entry.name}: cannot run: ${entry.failure}`);
    await closeSession(entry);
  }
}

/** Waits until other programs are idle, but at most `waitSeconds`. */
async function untilQuiet({ waitSeconds }) {
  const start = performance.now();
  do {
    const interval = new Interval();
    await sleep(Math.min(QUIET_MS, waitSeconds * 1000));
    const load = interval.end();
    if (!load || load.others <= BUSY_CORES) return;
  } while (performance.now() - start < waitSeconds * 1000);
}

/** Measures one run of a contender. */
async function measure(entry, options, round) {
  const interval = new Interval();
  const started = performance.now();
  try {
    const request = { promptTokens: options.promptTokens, generateTokens: entry.generateTokens };
    const run = await withTimeout(entry.session.run(request), "a run");
    run.load = interval.end();
    run.prefill = (run.prefillTokens * 1000) / run.prefillMs;
    run.decode = (run.decodeTokens * 1000) / run.decodeMs;
    entry.runs.push(run);
    const load = run.load ? `, others ${run.load.others.toFixed(2)} cores` : "";
    const speeds = `prefill ${run.prefill.toFixed(2)}/s, decode ${run.decode.toFixed(2)}/s`;
    say(`round ${round}: ${entry.name}: ${speeds}${load}`);
  } catch (error) {
    entry.failure = errorLine(error);
    say(`round ${round}: ${entry.name}: failed: ${entry.failure}`);
    await closeSession(entry);
  }
  entry.lastMs = performance.now() - started;
}

/** Returns the contenders whose next run fits into the budget, leaving out the slowest first. */
function selectFitting(running, budgetMs) {
  let left = budgetMs;
  const fits = new Set();
  for (const entry of running.toSorted((a, b) => a.lastMs - b.lastMs)) {
    left -= entry.lastMs;
    if (left >= 0) fits.add(entry);
  }
  return running.filter((entry) => fits.has(entry));
}

/** Runs every contender once per round, until each has `options.runs` runs or the time is over. */
async function rounds(entries, options) {
  const deadline = performance.now() + options.minutes * 60_000;
  for (let round = 1; round <= options.runs; round += 1) {
    const running = entries.filter((entry) => entry.session);
    const share = (deadline - performance.now()) / (options.runs - round + 1);
    const chosen = round === 1 ? running : selectFitting(running, share);
    for (const { name } of running.filter((entry) => !chosen.includes(entry))) {
      say(
        `round ${round}: ${name} is left out: its run does not fit into ${options.minutes} minutes`,
      );
    }
    for (const entry of chosen) {
      await untilQuiet(options);
      if (performance.now() < deadline) await measure(entry, options, round);
      else if (entry.runs.length === 0)
        entry.failure = `the ${options.minutes} minutes of BENCH_MINUTES were over`;
    }
  }
}

/** Returns the contenders and parts that `--only` selects; throws if there are none. */
function select({ only, minutes }) {
  const chosen = contenders.filter((contender) => contenderWanted(contender, only));
  const chosenParts = parts.filter((part) => partWanted(part, only));
  if (chosen.length + chosenParts.length === 0) {
    const named = [...contenders, ...parts].map(({ name }) => name);
    const groups = [...named, ...ratios.map(({ key }) => key)].map((name) => `${name}.*`);
    throw new Error(
      `--only: found ${only}, expected a prefix of ${groups.join(", ")}, load.* or step.*`,
    );
  }
  const contenderMinutes = chosen.length > 0 ? minutes : 0;
  const total = chosenParts.reduce((sum, part) => sum + part.minutes, contenderMinutes);
  say(`about ${total} minutes; ONLY=prefix measures a part`);
  return { chosen, chosenParts };
}

/** Measures the parts; returns the number that failed. */
async function measureParts(chosenParts, results) {
  let failed = 0;
  for (const part of chosenParts) {
    say(`${part.name}: about ${part.minutes} minutes`);
    try {
      await measurePart(part, results);
    } catch (error) {
      say(`${part.name}: failed: ${errorLine(error)}`);
      failed += 1;
    }
  }
  return failed;
}

/** Measures the contenders and prints their table. Returns true if any of them ran. */
async function measureContenders(chosen, options, results) {
  const entries = chosen.map((contender) => ({ ...contender, runs: [] }));
  let idle;
  try {
    for (const entry of entries) await openSession(entry, options);
    // The cores that contenders use between runs, with the model loaded.
    const interval = new Interval();
    await sleep(2000);
    idle = interval.end();
    await rounds(entries, options);
  } finally {
    for (const entry of entries) await closeSession(entry);
  }
  for (const entry of entries) record(results, entry);
  console.log(renderTable({ results, entries, options, machine: machineLine(idle) }));
  return entries.some((entry) => entry.runs.length > 0);
}

async function main() {
  const options = readOptions();
  if (!existsSync(modelPath))
    throw new Error(`${modelPath} is missing; .ci/setup.sh model fetches it`);
  const { chosen, chosenParts } = select(options);
  // A partial run keeps the other figures of an earlier one.
  const results = options.only === "" ? {} : readResults();
  const haveRun = chosen.length === 0 || (await measureContenders(chosen, options, results));
  const failed = await measureParts(chosenParts, results);
  if (chosenParts.length > 0) console.log(["", ...partLines(results)].join("\n"));
  if (options.standard) writeResults(results);
  else say("target/bench.json is not changed: these are not the standard token counts");
  if (!haveRun || failed > 0) process.exitCode = 1;
}

// Without this, Playwright closes its browsers on SIGTERM and the run goes on without them.
process.once("SIGTERM", () => process.exit(143));

try {
  await main();
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
// A browser or a peer that hangs on exit must not block this process.
process.exit();
