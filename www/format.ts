/** Formats sizes, durations and speeds for display. */

/** Formats a byte count in MiB, or in GiB from 1 GiB up. */
export function bytes(count: number): string {
  const mebibytes = count / 2 ** 20;
  if (mebibytes >= 1024) return `${(mebibytes / 1024).toFixed(2)} GiB`;
  return `${mebibytes.toFixed(mebibytes < 10 ? 1 : 0)} MiB`;
}

/** Formats seconds as `12 s` or `3 min 20 s`. */
export function duration(seconds: number): string {
  const rounded = Math.max(1, Math.ceil(seconds));
  if (rounded < 60) return `${rounded} s`;
  return `${Math.floor(rounded / 60)} min ${rounded % 60} s`;
}

/** Formats a speed in tokens per second. */
export function speed(tokensPerSecond: number): string {
  return `${tokensPerSecond.toFixed(tokensPerSecond < 10 ? 1 : 0)} tokens/s`;
}
