/** The one error type: what went wrong, by what the caller can do about it. */

/** The stable codes; the same strings as in Rust and on the command line. */
export const errorCodes = [
  "no-gpu",
  "gpu-too-small",
  "device-lost",
  "out-of-memory",
  "unknown-architecture",
  "unsupported-format",
  "missing-tensors",
  "malformed",
  "network",
  "integrity",
  "storage-full",
  "context-full",
  "invalid-request",
  "invalid-grammar",
  "aborted",
  "disposed",
  "internal",
] as const;

/** One of {@link errorCodes}. */
export type ErrorCode = (typeof errorCodes)[number];

/** An error with a stable `code` and a message for people. */
export class TabLMError extends Error {
  /** What the caller can do about it. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TabLMError";
    this.code = code;
  }
}

/** How an error crosses the worker's boundary. */
export interface PlainError {
  code: ErrorCode;
  message: string;
}

function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && (errorCodes as readonly string[]).includes(value);
}

/** Whether it was thrown on purpose: by us, or by the engine as one of its errors. */
export function hasCode(value: unknown): value is { code: ErrorCode } {
  return isErrorCode((value as { code?: unknown } | null)?.code);
}

/**
 * Any thrown thing as a TabLMError. Errors of the engine carry a `code`; what the platform
 * throws is told apart by name; everything else is a defect of ours.
 */
export function toTabLMError(value: unknown): TabLMError {
  if (value instanceof TabLMError) return value;
  const message = value instanceof Error ? value.message : String(value);
  if (hasCode(value)) return new TabLMError(value.code, message, { cause: value });
  const name = (value as { name?: unknown } | null)?.name;
  if (name === "AbortError")
    return new TabLMError("aborted", "aborted by the caller", { cause: value });
  if (name === "QuotaExceededError")
    return new TabLMError("storage-full", message, { cause: value });
  // Of JavaScript's memory, or of the wasm's when it is to start; each browser has words of its own.
  if (/^(Range|Internal)Error$/.test(String(name)) && /memory|allocat/i.test(message)) {
    return new TabLMError("out-of-memory", message, { cause: value });
  }
  return new TabLMError("internal", message, { cause: value });
}

/** The two fields that survive `postMessage`. */
export function toPlainError(value: unknown): PlainError {
  const error = toTabLMError(value);
  return { code: error.code, message: error.message };
}

/** Throws `aborted` if the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new TabLMError("aborted", "aborted by the caller", { cause: signal.reason });
}
