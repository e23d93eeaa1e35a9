// The benchmark: TabLM and its peers on the same model file, side by side, in one run.
// `node tests/bench/run.mjs [--only PREFIX] [--prompt-tokens N] [--generate-tokens N]`.
// Contenders take turns, so that a disturbance of the machine meets all of them; what others
// used of the machine meanwhile is measured and shown. BENCH_RUNS= sets the runs of each (5),
// BENCH_MINUTES= the time for all of them (30; slow contenders get fewer runs), BENCH_WAIT= the most seconds that a run
// waits for others to leave the machine alone (20). What is no race, the parts, comes after it.

import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { contenders } from "./contenders/index.mjs";
import { BUSY_CORES, Interval, machineLine } from "./machine.mjs";
import { modelPath, root } from "./model.mjs";
import { measurePart, partLines, parts, partWanted } from "./parts.mjs";
import { ratios, readResults, record, wanted, writeResults } from "./results.mjs";
import { renderTable } from "./table.mjs";

const STANDARD = { promptTokens: 512, generateTokens: 128 };
/** A contender that would decode for longer than this generates fewer tokens, but these at least. */
const DECODE_LIMIT_S = 20;
const FEW_TOKENS = 4;
/** A run that takes longer ends its contender. */
const RUN_LIMIT_MS = 480_000;
const CLOSE_LIMIT_MS = 20_000;
/** How long others must have been quiet before a run begins. */
const QUIET_MS = 3000;
const WARM_UP = { promptTokens: 64, generateTokens: 8 };

process.chdir(root);

function positive(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`${name}: found ${text}, expected a positive whole number`);
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

/** `promise`, or an error when it takes too long. */
function limited(promise, what, limitMs = RUN_LIMIT_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what} took longer than ${limitMs / 1000} s`)),
      limitMs,
    );
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Why something failed, on one line. */
function reasonOf(error) {
  const text = String(error?.message ?? error)
    .replaceAll(/\s+/g, " ")
    .trim();
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

async function end(entry) {
  const { session } = entry;
  entry.session = undefined;
  if (!session) return;
  await limited(session.close(), "closing", CLOSE_LIMIT_MS).catch((error) =>
    say(`${entry.name}: ${reasonOf(error)}`),
  );
}

/** Loads the model and warms up; decides how many tokens this contender generates. */
async function begin(entry, options) {
  say(`${entry.name}: loading`);
  try {
    entry.session = await limited(entry.start(), "loading");
    entry.device = entry.session.device;
    entry.notes = entry.session.notes;
    const warm = await limited(entry.session.run(WARM_UP), "the warm-up");
    const affordable = Math.floor((DECODE_LIMIT_S * 1000 * warm.decodeTokens) / warm.decodeMs);
    entry.generateTokens = Math.min(Math.max(affordable, FEW_TOKENS), options.generateTokens);
  } catch (error) {
    entry.failure = reasonOf(error);
    say(`${entry.name}: cannot run: ${entry.failure}`);
    await end(entry);
  }
}

/** Waits until others use little of the machine; goes on after a while all the same. */
async function untilQuiet({ waitSeconds }) {
  const start = performance.now();
  do {
    const interval = new Interval();
    await sleep(Math.min(QUIET_MS, waitSeconds * 1000));
    const load = interval.end();
    if (!load || load.others <= BUSY_CORES) return;
  } while (performance.now() - start < waitSeconds * 1000);
}

/** One measured run. */
async function measure(entry, options, round) {
  const interval = new Interval();
  const started = performance.now();
  try {
    const request = { promptTokens: options.promptTokens, generateTokens: entry.generateTokens };
    const run = await limited(entry.session.run(request), "a run");
    run.load = interval.end();
    run.prefill = (run.prefillTokens * 1000) / run.prefillMs;
    run.decode = (run.decodeTokens * 1000) / run.decodeMs;
    entry.runs.push(run);
    const load = run.load ? `, others ${run.load.others.toFixed(2)} cores` : "";
    say(
      `round ${round}: ${entry.name}: prefill ${run.prefill.toFixed(2)}/s, decode ${run.decode.toFixed(2)}/s${load}`,
    );
  } catch (error) {
    entry.failure = reasonOf(error);
    say(`round ${round}: ${entry.name}: failed: ${entry.failure}`);
    await end(entry);
  }
  entry.lastMs = performance.now() - started;
}

/** The contenders whose next run fits into the time: the slowest are left out first. */
function fitting(running, budgetMs) {
  let left = budgetMs;
  const fits = new Set();
  for (const entry of running.toSorted((a, b) => a.lastMs - b.lastMs)) {
    left -= entry.lastMs;
    if (left >= 0) fits.add(entry);
  }
  return running.filter((entry) => fits.has(entry));
}

/** Rounds of one run each, until there are enough or the time is over. */
async function rounds(entries, options) {
  const deadline = performance.now() + options.minutes * 60_000;
  for (let round = 1; round <= options.runs; round += 1) {
    const running = entries.filter((entry) => entry.session);
    const share = (deadline - performance.now()) / (options.runs - round + 1);
    const chosen = round === 1 ? running : fitting(running, share);
    for (const { name } of running.filter((entry) => !chosen.includes(entry))) {
      say(`round ${round}: ${name} is left out: it would not fit into ${options.minutes} minutes`);
    }
    for (const entry of chosen) {
      await untilQuiet(options);
      if (performance.now() < deadline) await measure(entry, options, round);
      else if (entry.runs.length === 0)
        entry.failure = `the ${options.minutes} minutes of BENCH_MINUTES were over`;
    }
  }
}

/** What `--only` asks for; an error names what it could be. */
function choose({ only, minutes }) {
  const chosen = contenders.filter((contender) => wanted(contender, only));
  const chosenParts = parts.filter((part) => partWanted(part, only));
  if (chosen.length + chosenParts.length === 0) {
    const names = [...contenders, ...ratios.map(({ key }) => ({ name: key })), ...parts].map(
      ({ name }) => `${name}.*`,
    );
    throw new Error(
      `--only: no key begins with ${only}; there are ${names.join(", ")}, load.*, step.*`,
    );
  }
  const race = chosen.length > 0 ? minutes : 0;
  say(
    `about ${chosenParts.reduce((sum, part) => sum + part.minutes, race)} minutes; ONLY=prefix measures a part`,
  );
  return { chosen, chosenParts };
}

/** Measures the parts; answers how many failed. */
async function measureParts(chosenParts, results) {
  let failed = 0;
  for (const part of chosenParts) {
    say(`${part.name}: about ${part.minutes} minutes`);
    try {
      await measurePart(part, results);
    } catch (error) {
      say(`${part.name}: failed: ${reasonOf(error)}`);
      failed += 1;
    }
  }
  return failed;
}

/** The contenders' race; prints its table. Answers whether any of them ran. */
async function race(chosen, options, results) {
  const entries = chosen.map((contender) => ({ ...contender, runs: [] }));
  let idle;
  try {
    for (const entry of entries) await begin(entry, options);
    const resting = new Interval();
    await sleep(2000);
    idle = resting.end();
    await rounds(entries, options);
  } finally {
    for (const entry of entries) await end(entry);
  }
  for (const entry of entries) record(results, entry);
  console.log(renderTable({ results, entries, options, machine: machineLine(idle) }));
  return entries.some((entry) => entry.runs.length > 0);
}

async function main() {
  const options = readOptions();
  if (!existsSync(modelPath))
    throw new Error(`${modelPath} is missing; .ci/setup.sh model fetches it`);
  const { chosen, chosenParts } = choose(options);
  // A part of a run keeps the rest of an earlier one.
  const results = options.only === "" ? {} : readResults();
  const raced = chosen.length === 0 || (await race(chosen, options, results));
  const failed = await measureParts(chosenParts, results);
  if (chosenParts.length > 0) console.log(["", ...partLines(results)].join("\n"));
  if (options.standard) writeResults(results);
  else say("target/bench.json is left as it is: these are not the standard token counts");
  if (!raced || failed > 0) process.exitCode = 1;
}

// Playwright closes its browsers then, and would let us go on without.
process.once("SIGTERM", () => process.exit(143));

try {
  await main();
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
// A browser or a peer that hangs on its way out must not keep us here.
process.exit();
