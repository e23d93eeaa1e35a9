// The printed report: a row per contender, ratios between them, remarks, and the costs of a step.

import { contenders } from "./contenders/index.mjs";
import { BUSY_CORES } from "./machine.mjs";
import { MEASURES, ratios } from "./results.mjs";
import { checkTarget } from "./targets.mjs";

/** Formats a number with about three significant digits. */
function short(value) {
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value.toFixed(value >= 0.1 ? 2 : 3);
}

function cell(figure) {
  if (!figure) return "–";
  const median = short(figure.median);
  return figure.runs > 1 ? `${median} [${short(figure.min)}–${short(figure.max)}]` : median;
}

/** Aligns rows of cells, heading first: the first `leftColumns` columns left, the others right. */
function align(lines, leftColumns) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  const padded = lines.map((line) =>
    line
      .map((text, column) =>
        column < leftColumns ? text.padEnd(widths[column]) : text.padStart(widths[column]),
      )
      .join("  ")
      .trimEnd(),
  );
  padded.splice(1, 0, "-".repeat(widths.reduce((sum, width) => sum + width + 2, -2)));
  return padded;
}

/** Returns a contender's cells; `entry` is its part in this run, `undefined` if it has none. */
function row(contender, results, entry) {
  const figure = (measure) => results[`${contender.name}.${measure}`];
  if (!figure("prefill")) {
    return entry
      ? [contender.name, contender.title, "–", "–", "–", "0", "–", "–", "–", "did not run"]
      : null;
  }
  const others = figure("others_cores");
  const flags = [
    entry ? "" : "earlier",
    others && others.max > BUSY_CORES ? "busy" : "",
    entry?.failure ? "cut short" : "",
  ];
  return [
    contender.name,
    contender.title,
    cell(figure("prefill")),
    cell(figure("decode")),
    figure("decode_tokens") ? String(figure("decode_tokens").median + 1) : "–",
    String(figure("prefill").runs),
    cell(results[`load.${contender.name}`]),
    figure("own_cores") ? short(figure("own_cores").median) : "–",
    others ? short(others.max) : "–",
    flags.filter(Boolean).join(", "),
  ];
}

/** Returns a ratio's cells: its value, its target, and whether that is met. */
function ratioCells(results, key) {
  const figure = results[key];
  return [cell(figure), ...(figure ? checkTarget(key, figure) : ["", ""])];
}

/** Returns the lines on the counters of a decoding step. */
function stepLines(results) {
  const steps = Object.entries(results).filter(([key]) => /^step\.(?!encode_us)/.test(key));
  if (steps.length === 0) return [];
  const cells = ([key, figure]) => [
    key,
    `${figure.median} ${figure.unit}`,
    ...checkTarget(key, figure),
  ];
  return ["", ...align([["decoding step", "", "target", ""], ...steps.map(cells)], 4)];
}

function ratioLines(results) {
  const lines = ratios
    .filter(({ key }) => MEASURES.some((measure) => results[`${key}.${measure}`]))
    .map(({ key, ours, theirs }) => [
      key,
      `${ours} / ${theirs}`,
      ...MEASURES.flatMap((measure) => ratioCells(results, `${key}.${measure}`)),
    ]);
  const heading = [
    "ratio",
    "ours / theirs",
    ...MEASURES.flatMap((measure) => [measure, "target", ""]),
  ];
  return lines.length > 0 ? [...align([heading, ...lines], 2), ""] : [];
}

/** Returns the whole report as text. */
export function renderTable({ results, entries, options, machine }) {
  const entryOf = new Map(entries.map((entry) => [entry.name, entry]));
  const heading = [
    "contender",
    "",
    "prefill tok/s",
    "decode tok/s",
    "generated",
    "runs",
    "load ms",
    "own",
    "others",
    "flags",
  ];
  const rows = contenders
    .map((contender) => row(contender, results, entryOf.get(contender.name)))
    .filter(Boolean);
  const devices = entries.map((entry) => [entry.name, entry.device ?? "–"]);
  const lines = [
    "",
    `SmolLM2-135M-Instruct Q4_1, ${options.promptTokens} prompt tokens, then ` +
      `${options.generateTokens} generated tokens; median [min–max]`,
    `machine: ${machine}`,
    "",
    ...align([heading, ...rows], 2),
    "own, others: CPU cores used during a run, by the contender (median) and other programs (max)",
    "",
    ...align([["contender", "runs on"], ...devices], 2),
    "",
    ...ratioLines(results),
  ];
  for (const entry of entries) {
    if (entry.failure) {
      const outcome = entry.runs.length > 0 ? "was cut short" : "did not run";
      lines.push(`${entry.name} ${outcome}: ${entry.failure}`);
    }
    if (!entry.failure && entry.runs.length < options.runs) {
      lines.push(
        `${entry.name} ran ${entry.runs.length} of ${options.runs} times: ` +
          `more did not fit into ${options.minutes} minutes`,
      );
    }
    if (entry.generateTokens < options.generateTokens) {
      lines.push(
        `${entry.name} generated ${entry.generateTokens} tokens ` +
          `instead of ${options.generateTokens}: it is slow here`,
      );
    }
  }
  // Contenders may share a remark, which is printed once.
  for (const note of new Set(entries.flatMap((entry) => entry.notes ?? []))) lines.push(note);
  if (rows.some((cells) => cells.at(-1).includes("busy"))) {
    lines.push(
      `busy: other programs used more than ${BUSY_CORES} cores during at least one of these runs`,
    );
  }
  if (rows.some((cells) => cells.at(-1).includes("earlier")))
    lines.push("earlier: from an earlier run, see target/bench.json");
  lines.push(...stepLines(results));
  return lines.join("\n");
}
