// The parts of the benchmark that measure TabLM without peers. A part is `{ name, minutes, keys,
// measure }`. `measure(put)` calls `put(key, value, unit)` for each of its `keys`; `value` is a
// number, or an array with one for each run. A key that ends with a dot is a prefix.

import { compiler } from "./compiler.mjs";
import { encoding } from "./encoding.mjs";
import { families } from "./families.mjs";
import { firstToken } from "./first_token.mjs";
import { fullSize } from "./full_size.mjs";
import { decodeDecay, prefillVsDecode, ssdVsScan } from "./native_ratios.mjs";
import { plans } from "./plans.mjs";
import { quantize } from "./quantize.mjs";
import { summarize } from "./results.mjs";
import { sessions } from "./sessions.mjs";
import { checkTarget } from "./targets.mjs";

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
  families,
  sessions,
];

/** True if `own` is the key, or a prefix of it that ends with a dot. */
const covers = (own, key) => own === key || (own.endsWith(".") && key.startsWith(own));

/** True if a part measures a key with this prefix. */
export function partWanted(part, prefix) {
  return part.keys.some((key) => key.startsWith(prefix) || covers(key, prefix));
}

/** True if a part measures a key. */
const owns = (part, key) => part.keys.some((own) => covers(own, key));

/** Measures a part and replaces its figures in the results. */
export async function measurePart(part, results) {
  for (const key of Object.keys(results)) if (owns(part, key)) delete results[key];
  await part.measure((key, value, unit) => {
    if (!owns(part, key))
      throw new Error(`${part.name}: found key ${key}, expected one of ${part.keys.join(", ")}`);
    const known = [value].flat().filter((each) => Number.isFinite(each));
    if (known.length > 0) results[key] = summarize(known, unit);
  });
}

/** Formats the parts' figures and targets, one per line; of the compiler's only the worst. */
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
    const range = runs > 1 ? ` [${number(min)}–${number(max)}]` : "";
    const [target, met] = checkTarget(key, results[key]);
    const value = `${number(median)}${range} ${unit}`;
    return `${key.padEnd(width)}  ${value}${target && `  target ${target}: ${met}`}`;
  });
}
