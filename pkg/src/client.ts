/** The page's side of one worker: calls with results, progress, tokens and aborts. */

import type { WasmUrls } from "./builds.js";
import { TabLMError, toTabLMError } from "./errors.js";
import type { Call, EngineDelta, FromWorker, MethodName, Methods, ToWorker } from "./protocol.js";
import type { AssetOptions, Progress } from "./types.js";

/** What a call may report before its result. */
export interface CallEvents {
  onProgress?: (progress: Progress) => void;
  onToken?: (delta: EngineDelta) => void;
  signal?: AbortSignal | undefined;
}

interface PendingCall {
  events: CallEvents;
  resolve: (value: unknown) => void;
  reject: (error: TabLMError) => void;
}

/** Starts the worker. The URL is spelt out here so that bundlers find it. */
function startWorker({ workerUrl }: AssetOptions): Worker {
  if (typeof Worker === "undefined") {
    throw new TabLMError("invalid-request", "there is no Worker here: TabLM runs in browsers (importing it elsewhere is fine)");
  }
  if (workerUrl !== undefined) return new Worker(workerUrl, { type: "module", name: "tablm" });
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "tablm" });
}

/** Where the builds that a page has elsewhere are; a URL alone is that of the build for every browser. */
function wasmUrls({ wasmUrl }: AssetOptions): WasmUrls | null {
  if (wasmUrl === undefined) return null;
  const named = typeof wasmUrl === "string" || wasmUrl instanceof URL ? { simd: wasmUrl } : wasmUrl;
  return Object.fromEntries(Object.entries(named).map(([build, url]) => [build, new URL(url, document.baseURI).href]));
}

/** One worker and the calls that wait for it. */
export class Client {
  #worker: Worker;
  #pending = new Map<number, PendingCall>();
  #nextCallId = 1;
  #ended: TabLMError | undefined;

  constructor(assets: AssetOptions) {
    this.#worker = startWorker(assets);
    this.#worker.addEventListener("message", (event: MessageEvent<FromWorker>) => this.#receive(event.data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      const text = event.message ? `the worker failed: ${event.message}` : "the worker script could not be loaded";
      this.end(new TabLMError(event.message ? "internal" : "network", text));
    });
    this.#post({ type: "init", wasmUrls: wasmUrls(assets) });
  }

  /** Whether the worker is gone, and why. */
  get ended(): TabLMError | undefined {
    return this.#ended;
  }

  /**
   * Calls a method. When the signal fires the worker is told; the promise settles once the
   * worker has really stopped.
   */
  call<Name extends MethodName>(method: Name, params: Methods[Name]["params"], events: CallEvents = {}): Promise<Methods[Name]["result"]> {
    if (this.#ended) return Promise.reject(this.#ended);
    const callId = this.#nextCallId++;
    const abort = (): void => this.#post({ type: "abort", callId });
    const result = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(callId, { events, resolve, reject });
      this.#post({ type: "call", callId, method, params } as ToWorker & Call);
      if (events.signal?.aborted) abort();
      else events.signal?.addEventListener("abort", abort, { once: true });
    });
    return result.finally(() => events.signal?.removeEventListener("abort", abort)) as Promise<Methods[Name]["result"]>;
  }

  /** Ends the worker; every waiting call is rejected with `reason`. */
  end(reason: TabLMError): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#worker.terminate();
    for (const pending of this.#pending.values()) pending.reject(reason);
    this.#pending.clear();
  }

  #post(message: ToWorker): void {
    if (!this.#ended) this.#worker.postMessage(message);
  }

  #receive(message: FromWorker): void {
    const pending = this.#pending.get(message.callId);
    if (!pending) return;
    try {
      if (message.type === "progress") return pending.events.onProgress?.(message.progress);
      if (message.type === "token") return pending.events.onToken?.(message.delta);
    } catch (error) {
      // A callback of the page's that throws must not lose the call.
      return queueMicrotask(() => {
        throw error;
      });
    }
    this.#pending.delete(message.callId);
    if (message.type === "result") pending.resolve(message.value);
    else pending.reject(toTabLMError(Object.assign(new Error(message.error.message), { code: message.error.code })));
  }
}

/** Runs one call on a worker of its own. */
export async function callOnce<Name extends MethodName>(
  method: Name,
  params: Methods[Name]["params"],
  assets: AssetOptions,
  events: CallEvents = {},
): Promise<Methods[Name]["result"]> {
  const client = new Client(assets);
  try {
    return await client.call(method, params, events);
  } finally {
    client.end(new TabLMError("disposed", "the worker was ended"));
  }
}

/** `promise`, or `aborted` as soon as the signal fires. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new TabLMError("aborted", "aborted by the caller", { cause: signal.reason }));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
