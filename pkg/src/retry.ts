/** Repeated requests: how often, and after which pause. */

import { throwIfAborted } from "./errors.js";

/** Most repetitions without progress. */
export const MAX_RETRIES = 4;
/** Milliseconds before the first repetition; each further one waits twice as long. */
const FIRST_PAUSE_MS = 250;
/** Most milliseconds that a server can ask to wait. */
const MAX_PAUSE_MS = 10_000;
/** Statuses of servers that are busy or restart. */
const TRANSIENT: readonly number[] = [408, 429, 500, 502, 503, 504];

/** True if the same request may succeed later. */
export function isTransient({ status }: Response): boolean {
  return TRANSIENT.includes(status);
}

/** Seconds that a server asks to wait; 0 if it does not say. */
function askedSeconds(response: Response | undefined): number {
  return Number(/^\d{1,4}$/.exec(response?.headers.get("retry-after") ?? "")?.[0] ?? 0);
}

/**
 * Waits before repetition number `retry`, from 0 on, for about twice as long as before the last
 * one, so that clients that failed together do not return together. Throws `aborted`.
 */
export async function pause(
  retry: number,
  signal: AbortSignal | null | undefined,
  response?: Response,
): Promise<void> {
  const usual = FIRST_PAUSE_MS * 2 ** retry * (0.75 + Math.random() / 2);
  const ms = Math.min(MAX_PAUSE_MS, Math.max(usual, 1000 * askedSeconds(response)));
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    const end = (): void => {
      clearTimeout(timer);
      resolve();
    };
    signal?.addEventListener("abort", end, { once: true });
  });
  throwIfAborted(signal ?? undefined);
}
