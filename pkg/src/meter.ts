/** Progress reports from byte counts: at most ten a second, with speed and time left. */

import type { Progress, ProgressPhase } from "./types.js";

const REPORT_INTERVAL_MS = 100;
/** Milliseconds over which speed is measured, few enough to follow the network. */
const WINDOW_MS = 4000;

/** Reporter of the phases of a load. */
export class Meter {
  #send: (progress: Progress) => void;
  #phase: ProgressPhase | null = null;
  #samples: { time: number; bytes: number }[] = [];
  #lastReport = -Infinity;

  constructor(send: (progress: Progress) => void) {
    this.#send = send;
  }

  /** Takes a byte count; the first and the last of a phase are always reported. */
  report(phase: ProgressPhase, file: string, loadedBytes: number, totalBytes: number | null): void {
    const now = performance.now();
    if (phase !== this.#phase) {
      this.#phase = phase;
      this.#samples = [{ time: now, bytes: loadedBytes }];
      this.#lastReport = -Infinity;
    }
    const last = totalBytes !== null && loadedBytes >= totalBytes;
    if (!last && now - this.#lastReport < REPORT_INTERVAL_MS) return;
    this.#lastReport = now;
    this.#samples.push({ time: now, bytes: loadedBytes });
    while (this.#samples.length > 2 && now - (this.#samples[0]?.time ?? now) > WINDOW_MS)
      this.#samples.shift();
    const bytesPerSecond = this.#speed();
    const etaSeconds =
      bytesPerSecond && totalBytes !== null
        ? Math.max(0, (totalBytes - loadedBytes) / bytesPerSecond)
        : null;
    this.#send({ phase, loadedBytes, totalBytes, bytesPerSecond, etaSeconds, file });
  }

  #speed(): number | null {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (!first || !last || last.time - first.time < REPORT_INTERVAL_MS) return null;
    return Math.max(0, ((last.bytes - first.bytes) * 1000) / (last.time - first.time));
  }
}
