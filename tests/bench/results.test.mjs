// Tests of the figures without measuring: medians, ratios, partial runs, targets and the report.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { contenders } from "./contenders/index.mjs";
import { compare } from "./compiler.mjs";
import { Interval } from "./machine.mjs";
import { measurePart, partLines, parts, partWanted } from "./parts.mjs";
import { contenderWanted, keysOf, ratios, readResults, record, summarize } from "./results.mjs";
import { renderTable } from "./table.mjs";
import { targets, checkTarget } from "./targets.mjs";

const run = (prefill, decode, more = {}) => ({
  prefill,
  decode,
  prefillTokens: 512,
  decodeTokens: 127,
  loadMs: 100,
  load: { own: 1, others: 0.1 },
  ...more,
});
const STEP = {
  dispatches: 513,
  submits: 1,
  bind_groups_created: 0,
  write_buffer_bytes: 8,
  readback_bytes: 4,
  weight_bytes: 8,
};
const contender = (name) => contenders.find((entry) => entry.name === name);
const options = { promptTokens: 512, generateTokens: 128, runs: 3, minutes: 15 };

describe("results", () => {
  test("median, minimum and maximum of an odd and an even number of values", () => {
    assert.deepEqual(summarize([3, 1, 2], "s"), { median: 2, min: 1, max: 3, runs: 3, unit: "s" });
    assert.deepEqual(summarize([4, 1, 3, 2], "s"), {
      median: 2.5,
      min: 1,
      max: 4,
      runs: 4,
      unit: "s",
    });
    assert.deepEqual(summarize([10, 9], "s"), { median: 9.5, min: 9, max: 10, runs: 2, unit: "s" });
  });

  test("every figure has the five fields, and every ratio is of existing contenders", () => {
    const results = {};
    for (const entry of contenders)
      record(results, { ...entry, runs: [run(10, 5, { step: STEP })] });
    for (const [key, value] of Object.entries(results)) {
      assert.deepEqual(Object.keys(value), ["median", "min", "max", "runs", "unit"], key);
      assert.ok(value.min <= value.median && value.median <= value.max && value.runs === 1, key);
    }
    for (const key of contenders.flatMap(keysOf)) assert.ok(key in results, `${key} is missing`);
    for (const { key } of ratios) assert.equal(results[`${key}.decode`].median, 1);
    assert.equal(results["step.dispatches"].median, 513);
  });

  test("a ratio is ours over theirs, with the worst and the best pairing as its range", () => {
    const results = {};
    record(results, { ...contender("native_gpu"), runs: [run(10, 4), run(12, 5), run(14, 6)] });
    assert.equal(results["vs_llamacpp_vulkan.decode"], undefined);
    record(results, { ...contender("llamacpp_vulkan"), runs: [run(20, 2), run(24, 2.5)] });
    assert.deepEqual(results["vs_llamacpp_vulkan.decode"], {
      median: 5 / 2.25,
      min: 4 / 2.5,
      max: 3,
      runs: 2,
      unit: "ratio",
    });
    assert.equal(results["vs_llamacpp_vulkan.prefill"].median, 12 / 22);
  });

  test("a failed contender loses its old figures and ratios; other contenders keep theirs", () => {
    const results = { "later.measure": { median: 1, min: 1, max: 1, runs: 1, unit: "ms" } };
    for (const name of ["web_gpu", "wllama_cpu"])
      record(results, { ...contender(name), runs: [run(10, 5)] });
    assert.ok(results["vs_wllama_cpu.decode"]);
    record(results, { ...contender("wllama_cpu"), runs: [] });
    assert.equal(results["vs_wllama_cpu.decode"], undefined);
    assert.deepEqual(
      Object.keys(results).filter((key) => key.startsWith("wllama")),
      [],
    );
    assert.ok(results["web_gpu.decode"] && results["later.measure"]);
  });

  test("--only selects contenders by any of their keys", () => {
    const selected = (prefix) =>
      contenders.filter((entry) => contenderWanted(entry, prefix)).map((entry) => entry.name);
    assert.deepEqual(selected("native"), ["native_gpu", "native_cpu", "native_cpu2"]);
    assert.deepEqual(selected("native_gpu.decode"), ["native_gpu"]);
    assert.deepEqual(selected("step."), ["native_gpu"]);
    assert.deepEqual(selected("vs_llamacpp_vulkan.prefill"), ["native_gpu", "llamacpp_vulkan"]);
    assert.deepEqual(selected("vs_wllama"), ["web_gpu", "wllama_cpu"]);
    assert.deepEqual(selected("vs_ort_web.decode"), ["web_gpu", "ort_web"]);
    assert.deepEqual(selected("nothing"), []);
    assert.equal(selected("").length, contenders.length);
  });

  test("a part sets its own keys only, and loses its old figures if it fails", async () => {
    const part = {
      name: "small",
      keys: ["small.bytes", "small.ms"],
      measure: async (put) => put("small.bytes", 12345678, "bytes"),
    };
    const results = { "small.ms": summarize([1], "ms"), "other.ms": summarize([2], "ms") };
    await measurePart(part, results);
    assert.deepEqual(results, {
      "small.bytes": summarize([12345678], "bytes"),
      "other.ms": summarize([2], "ms"),
    });
    await assert.rejects(
      measurePart({ ...part, measure: async (put) => put("other.ms", 3, "ms") }, results),
      /small: found key other\.ms, expected/,
    );
    assert.deepEqual(Object.keys(results), ["other.ms"]);
  });

  test("--only selects parts by any of their keys", () => {
    const selected = (prefix) =>
      parts.filter((entry) => partWanted(entry, prefix)).map((entry) => entry.name);
    assert.deepEqual(selected("nemotron4b.mem"), ["nemotron4b"]);
    assert.deepEqual(selected("nemotron4b.step"), ["plans"]);
    assert.deepEqual(selected("compiler.navi21.matvec"), ["compiler"]);
  });

  test("the lines of the parts show targets, and no figures of single kernels", () => {
    const figures = {
      "nemotron4b.memory.gpu_bytes": 3100000000,
      "nemotron4b.step.dispatches": 121,
      "compiler.navi21.matvec.spills": 0,
    };
    const results = Object.entries(figures).map(([key, value]) => [
      key,
      summarize([value], "bytes"),
    ]);
    assert.deepEqual(partLines(Object.fromEntries(results)), [
      "nemotron4b.step.dispatches   121 bytes  target ≤ 120: missed",
      "nemotron4b.memory.gpu_bytes  3,100,000,000 bytes",
    ]);
  });

  test("every target is of a measured figure, and is met at its limit", () => {
    const keys = [
      ...contenders.flatMap(keysOf),
      ...ratios.flatMap(({ key }) => [`${key}.prefill`, `${key}.decode`]),
    ];
    for (const key of Object.keys(targets))
      assert.ok(keys.includes(key) || parts.some((part) => partWanted(part, key)), key);
    assert.deepEqual(checkTarget("vs_ort_web.decode", summarize([15], "ratio")), ["≥ 15", "met"]);
    assert.deepEqual(checkTarget("step.submits", summarize([2], "submits")), ["≤ 1", "missed"]);
    assert.deepEqual(checkTarget("native_gpu.decode", summarize([2], "tokens/s")), ["", ""]);
  });

  test("compiler budgets name kernels that exceed theirs, have none, or no longer exist", () => {
    const chip = (kernels, compiler = "Mesa 1") => ({ navi21: { compiler, kernels } });
    const budgets = chip({ matvec: { instructions: 100, spills: 0 }, old: { instructions: 1 } });
    const found = chip({ matvec: { instructions: 111, spills: 0 }, fresh: { instructions: 5 } });
    const { problems, worst } = compare(budgets, found);
    assert.deepEqual(problems, [
      "navi21 matvec: instructions: found 111, expected at most 100",
      "navi21 fresh: has no budget",
      "navi21 old: has a budget but no plan uses it",
    ]);
    assert.equal(worst, 1.11);
    assert.deepEqual(compare(budgets, budgets), { problems: [], worst: 1 });
    const spilling = { matvec: { instructions: 100, spills: 1 }, old: { instructions: 1 } };
    assert.equal(compare(budgets, chip(spilling)).worst, Infinity);
    assert.deepEqual(compare(budgets, chip({}, "Mesa 2")).problems, [
      "navi21: compiler: found Mesa 2, expected Mesa 1 as in the budgets",
    ]);
  });

  test("a missing results file reads as empty; a malformed one is rejected", () => {
    const folder = mkdtempSync(join(tmpdir(), "tablm-bench-"));
    try {
      const file = join(folder, "bench.json");
      assert.deepEqual(readResults(file), {});
      writeFileSync(file, "[1]");
      assert.throws(() => readResults(file), /expected one object/);
      writeFileSync(file, "{");
      assert.throws(() => readResults(file), SyntaxError);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the table", () => {
  test("shows every contender, flags doubtful runs, and says which did not run and why", () => {
    const results = {};
    const entries = [
      {
        ...contender("native_gpu"),
        runs: [run(10, 5), run(11, 6, { load: { own: 1, others: 0.8 } })],
        generateTokens: 16,
        device: "an adapter",
      },
      { ...contender("wllama_cpu"), runs: [], failure: "no such file" },
    ];
    record(results, { ...contender("web_cpu"), runs: [run(7, 3)] });
    for (const entry of entries) record(results, entry);
    const text = renderTable({ results, entries, options, machine: "a machine" });
    const row = (name) => text.split("\n").find((line) => line.startsWith(`${name} `));
    assert.match(row("native_gpu"), /10\.5 \[10\.0–11\.0\].*5\.50 \[5\.00–6\.00\].*busy$/);
    assert.match(row("web_cpu"), /earlier$/);
    assert.match(row("wllama_cpu"), /did not run$/);
    assert.match(text, /wllama_cpu did not run: no such file/);
    assert.match(text, /native_gpu generated 16 tokens instead of 128/);
    assert.match(text, /native_gpu ran 2 of 3 times/);
    assert.match(text, /native_gpu +an adapter/);
  });
});

describe(
  "CPU time of the benchmark and of other programs",
  { skip: process.platform !== "linux" && "only Linux has /proc" },
  () => {
    const burn = (ms) => {
      const script = `const end = Date.now() + ${ms}; while (Date.now() < end);`;
      return spawn(process.execPath, ["-e", script], { stdio: "ignore" });
    };
    const ended = (child) => new Promise((resolve) => child.on("exit", resolve));

    test("includes child processes in the own time, running or ended", async () => {
      const interval = new Interval();
      await ended(burn(600));
      const first = interval.end();
      const running = burn(2000);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const second = interval.end();
      running.kill();
      await ended(running);
      // Other programs may use the cores; a child gets at least a fifth of one.
      assert.ok(first.own > 0.2 && first.own < 2, `found ${first.own} cores`);
      assert.ok(second.own > 0.2 && second.own < 2, `found ${second.own} cores`);
      assert.ok(first.others >= 0 && second.others >= 0);
    });
  },
);
