// What the benchmark measures besides the contenders' race: each part has figures of its own.
// `measure(put)` calls `put(key, value, unit)` for each of its `keys`.

import { fullSize } from "./full_size.mjs";
import { quantise } from "./quantise.mjs";
import { spread } from "./results.mjs";

export const parts = [fullSize("nemotron4b", 10, true), fullSize("minitron_width", 3, false), quantise];

/** Whether a part has a key that begins with `prefix`. */
export function partWanted(part, prefix) {
  return part.keys.some((key) => key.startsWith(prefix));
}

/** Puts a part's figures into the results in place of what they held of it. */
export async function measurePart(part, results) {
  for (const key of part.keys) delete results[key];
  await part.measure((key, value, unit) => {
    if (!part.keys.includes(key)) throw new Error(`${key} is not a key of ${part.name}`);
    if (Number.isFinite(value)) results[key] = spread([value], unit);
  });
}

/** The figures of the parts, as lines. */
export function partLines(results) {
  const known = parts.flatMap((part) => part.keys).filter((key) => results[key]);
  const width = Math.max(0, ...known.map((key) => key.length));
  const number = (value) => (value < 1000 ? String(Number(value.toPrecision(4))) : Math.round(value).toLocaleString("en"));
  return known.map((key) => `${key.padEnd(width)}  ${number(results[key].median)} ${results[key].unit}`);
}
