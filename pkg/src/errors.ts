/** The error type of the package; its codes are those of the engine. */

import { errorCodes, type ErrorCode } from "./generated.js";

/** An error with a stable `code` for programs and a `message` for people. */
export class TabLMError extends Error {
  /** Kind of the error; docs/troubleshooting.md explains each. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TabLMError";
    this.code = code;
  }
}

/** An error as it crosses the worker's boundary. */
export interface PlainError {
  code: ErrorCode;
  message: string;
}

function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && (errorCodes as readonly string[]).includes(value);
}

/** Name of a thrown value, by which errors of the platform are told apart; "" without one. */
export function errorName(value: unknown): string {
  return String((value as { name?: unknown } | null)?.name ?? "");
}

/** True for errors of the package and of the engine; others are defects or the platform's. */
export function hasCode(value: unknown): value is { code: ErrorCode } {
  return isErrorCode((value as { code?: unknown } | null)?.code);
}

/**
 * Any thrown value as a `TabLMError`. Errors of the engine have a `code`; errors of the platform
 * are recognized by name; everything else is `internal`.
 */
export function toTabLMError(value: unknown): TabLMError {
  if (value instanceof TabLMError) return value;
  const message = value instanceof Error ? value.message : String(value);
  if (hasCode(value)) return new TabLMError(value.code, message, { cause: value });
  const name = errorName(value);
  if (name === "AbortError")
    return new TabLMError("aborted", "aborted by the caller", { cause: value });
  if (name === "QuotaExceededError")
    return new TabLMError("storage-full", message, { cause: value });
  // Allocation failures of JavaScript, and of wasm memory at startup; the wording differs by
  // browser.
  if (/^(Range|Internal)Error$/.test(name) && /memory|allocat/i.test(message)) {
    return new TabLMError("out-of-memory", message, { cause: value });
  }
  return new TabLMError("internal", message, { cause: value });
}

/** Code and message of any thrown value, for `postMessage`. */
export function toPlainError(value: unknown): PlainError {
  const error = toTabLMError(value);
  return { code: error.code, message: error.message };
}

/** Throws `aborted` if the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new TabLMError("aborted", "aborted by the caller", { cause: signal.reason });
}
