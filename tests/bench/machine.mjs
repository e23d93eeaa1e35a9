// The machine: its description, and the CPU time that the benchmark and other programs use.

import { readdirSync, readFileSync } from "node:fs";
import { cpus, loadavg, platform, release, totalmem } from "node:os";

/** A run is flagged as busy if other programs use more cores than this. */
export const BUSY_CORES = 0.3;
/** The unit of times in /proc: Linux reports hundredths of a second on all supported platforms. */
const TICKS_PER_S = 100;

/** Returns the CPU seconds that the whole machine has been busy, including stolen time. */
function busySeconds() {
  const line = readFileSync("/proc/stat", "utf8").split("\n", 1)[0].trim();
  const [, user, nice, system, , , irq, softirq, steal] = line.split(/\s+/).map(Number);
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_S;
}

/** Returns the CPU seconds of this process and its descendants, including those that ended. */
function ownSeconds() {
  const children = new Map();
  const ticks = new Map();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    let stat;
    try {
      stat = readFileSync(`/proc/${name}/stat`, "utf8");
    } catch {
      continue; // The process ended meanwhile.
    }
    // The second field is the program's name in parentheses and may contain any characters.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const parent = Number(fields[1]);
    // User and system time, of the process and of its children that ended and were waited for.
    const times = fields.slice(11, 15).map(Number);
    const total = times.reduce((sum, value) => sum + value, 0);
    ticks.set(Number(name), total);
    if (!children.has(parent)) children.set(parent, []);
    children.get(parent).push(Number(name));
  }
  let total = 0;
  const open = [process.pid];
  while (open.length > 0) {
    const pid = open.pop();
    total += ticks.get(pid) ?? 0;
    open.push(...(children.get(pid) ?? []));
  }
  return total / TICKS_PER_S;
}

/**
 * A time interval; `end` returns the CPU cores used by this benchmark and by others, or null if
 * unknown.
 */
export class Interval {
  #start = Interval.#now();

  static #now() {
    if (platform() !== "linux") return null;
    return { ms: performance.now(), busy: busySeconds(), own: ownSeconds() };
  }

  end() {
    const [start, now] = [this.#start, Interval.#now()];
    if (!start || !now) return null;
    const seconds = Math.max((now.ms - start.ms) / 1000, 1e-3);
    const own = (now.own - start.own) / seconds;
    return { own, others: Math.max(0, (now.busy - start.busy) / seconds - own) };
  }
}

/** Describes the machine in one line; `idle` is the load while all contenders were idle. */
export function machineLine(idle) {
  const [first] = cpus();
  const loads = loadavg().map((value) => value.toFixed(2));
  const parts = [
    `${cpus().length} × ${first?.model.trim() || "unknown CPU"}`,
    `${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    `${platform()} ${release()}`,
    `load ${loads.join(" ")}`,
  ];
  if (idle) parts.push(`idle contenders ${idle.own.toFixed(2)} cores`);
  return parts.join(", ");
}
