// What the benchmark measures besides the contenders' race: each part has figures of its own.
// `measure(put)` calls `put(key, value, unit)` for its `keys`, of which one that ends with a dot
// stands for all that begin so; `value` is a number, or those of several runs.

import { compiler } from "./compiler.mjs";
import { encoding } from "./encoding.mjs";
import { firstToken } from "./first_token.mjs";
import { fullSize } from "./full_size.mjs";
import { decodeDecay, prefillVsDecode, ssdVsScan } from "./native_ratios.mjs";
import { plans } from "./plans.mjs";
import { quantize } from "./quantize.mjs";
import { spread } from "./results.mjs";
import { verdict } from "./targets.mjs";

export const parts = [
  plans,
  compiler,
  prefillVsDecode,
  ssdVsScan,
  decodeDecay,
  firstToken,
  encoding,
  fullSize("nemotron4b", 16, true),
  fullSize("minitron_width", 3, false),
  quantize,
];

const covers = (own, key) => own === key || (own.endsWith(".") && key.startsWith(own));

/** Whether a part has a key that begins with `prefix`. */
export function partWanted(part, prefix) {
  return part.keys.some((key) => key.startsWith(prefix) || covers(key, prefix));
}

/** Whether a figure is a part's. */
const owns = (part, key) => part.keys.some((own) => covers(own, key));

/** Puts a part's figures into the results in place of what they held of it. */
export async function measurePart(part, results) {
  for (const key of Object.keys(results)) if (owns(part, key)) delete results[key];
  await part.measure((key, value, unit) => {
    if (!owns(part, key)) throw new Error(`${key} is not a key of ${part.name}`);
    const known = [value].flat().filter((each) => Number.isFinite(each));
    if (known.length > 0) results[key] = spread(known, unit);
  });
}

/** The figures of the parts, as lines, with what they are to be; of the compiler's only the worst. */
export function partLines(results) {
  const number = (value) =>
    Math.abs(value) < 1000
      ? String(Number(value.toPrecision(4)))
      : Math.round(value).toLocaleString("en");
  const shown = Object.keys(results).filter(
    (key) => !key.startsWith("compiler.") || key === "compiler.worst_vs_budget",
  );
  const known = parts.flatMap((part) => shown.filter((key) => owns(part, key)));
  const width = Math.max(0, ...known.map((key) => key.length));
  return known.map((key) => {
    const { median, min, max, runs, unit } = results[key];
    const ends = runs > 1 ? ` [${number(min)}–${number(max)}]` : "";
    const [target, met] = verdict(key, results[key]);
    return `${key.padEnd(width)}  ${number(median)}${ends} ${unit}${target && `  target ${target}: ${met}`}`;
  });
}
