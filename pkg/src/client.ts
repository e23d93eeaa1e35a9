/** The page's end of a worker: calls with results, progress, tokens and aborts. */

import type { WasmUrls } from "./builds.js";
import { TabLMError, throwIfAborted, toTabLMError } from "./errors.js";
import type { AnswerDelta } from "./generated.js";
import type {
  AboutCall,
  Call,
  FromWorker,
  MethodName,
  Methods,
  RunningEngine,
  ToWorker,
} from "./protocol.js";
import type { AssetOptions, Progress } from "./types.js";

/** Listeners and limits of a call. */
export interface CallEvents {
  onProgress?: (progress: Progress) => void;
  onToken?: (delta: AnswerDelta) => void;
  signal?: AbortSignal | undefined;
  /** Milliseconds that the worker has to stop after an abort before it is terminated. */
  graceMs?: number;
}

/** Default of `graceMs`: enough for a load to remove its incomplete files. */
const ABORT_GRACE_MS = 2000;

interface PendingCall {
  events: CallEvents;
  resolve: (value: unknown) => void;
  reject: (error: TabLMError) => void;
}

/** Starts a worker. Bundlers find its URL by this expression. */
function startWorker({ workerUrl }: AssetOptions): Worker {
  if (typeof Worker === "undefined") {
    throw new TabLMError(
      "invalid-request",
      "found no Worker in this environment, expected a browser (importing works everywhere)",
    );
  }
  if (workerUrl !== undefined) return new Worker(workerUrl, { type: "module", name: "tablm" });
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "tablm" });
}

/** Absolute URLs of the builds that the page names; a single URL is that of the build `simd`. */
function wasmUrls({ wasmUrl }: AssetOptions): WasmUrls | null {
  if (wasmUrl === undefined) return null;
  const named = typeof wasmUrl === "string" || wasmUrl instanceof URL ? { simd: wasmUrl } : wasmUrl;
  return Object.fromEntries(
    Object.entries(named).map(([build, url]) => [build, new URL(url, document.baseURI).href]),
  );
}

/** The worker of an engine, the workers of its threads, and the pending calls. */
export class Client {
  #worker: Worker;
  #threads: Worker[] = [];
  #pending = new Map<number, PendingCall>();
  #nextCallId = 1;
  #ended: TabLMError | undefined;

  constructor(assets: AssetOptions) {
    this.#worker = this.#start(assets, ({ data }) => {
      if (data.type === "startThreads") this.#startThreads(data.count, assets, data);
      else if (data.type !== "threadStarted") this.#receive(data);
    });
    this.#post({ type: "init", wasmUrls: wasmUrls(assets) });
  }

  /** Reason why the worker was terminated; `undefined` while it runs. */
  get ended(): TabLMError | undefined {
    return this.#ended;
  }

  /**
   * Calls a method. When the signal fires, the worker is told, and the promise settles once the
   * worker has stopped. A worker that does not stop within `graceMs` is terminated, which also
   * drops its model.
   */
  call<Name extends MethodName>(
    method: Name,
    params: Methods[Name]["params"],
    events: CallEvents = {},
  ): Promise<Methods[Name]["result"]> {
    if (this.#ended) return Promise.reject(this.#ended);
    const callId = this.#nextCallId++;
    const { graceMs = ABORT_GRACE_MS } = events;
    let watchdog: ReturnType<typeof setTimeout> | undefined;
    const abort = (): void => {
      this.#post({ type: "abort", callId });
      const limit = `${graceMs / 1000} s`;
      const text = `aborted by the caller; the worker did not stop within ${limit} and was ended`;
      watchdog = setTimeout(() => this.end(new TabLMError("aborted", text)), graceMs);
    };
    const result = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(callId, { events, resolve, reject });
      this.#post({ type: "call", callId, method, params } as ToWorker & Call);
      if (events.signal?.aborted) abort();
      else events.signal?.addEventListener("abort", abort, { once: true });
    });
    return result.finally(() => {
      clearTimeout(watchdog);
      events.signal?.removeEventListener("abort", abort);
    }) as Promise<Methods[Name]["result"]>;
  }

  /** Terminates the workers and rejects every pending call with `reason`. */
  end(reason: TabLMError): void {
    if (this.#ended) return;
    this.#ended = reason;
    for (const worker of [this.#worker, ...this.#threads]) worker.terminate();
    for (const pending of this.#pending.values()) pending.reject(reason);
    this.#pending.clear();
  }

  /** Starts a worker; an error in it ends this client. */
  #start(assets: AssetOptions, receive: (event: MessageEvent<FromWorker>) => void): Worker {
    const worker = startWorker(assets);
    worker.addEventListener("message", receive);
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      const text = event.message
        ? `the worker failed: ${event.message}`
        : "the worker script could not be loaded";
      this.end(new TabLMError(event.message ? "internal" : "network", text));
    });
    return worker;
  }

  /**
   * Starts workers as threads of the engine. The engine's own worker cannot: it blocks while it
   * computes, and would not receive their errors.
   */
  #startThreads(count: number, assets: AssetOptions, { module, memory }: RunningEngine): void {
    let missing = count;
    const started = (): void => {
      missing -= 1;
      if (missing === 0) this.#post({ type: "threadsStarted" });
    };
    for (let index = 0; index < count && !this.#ended; index += 1) {
      const thread = this.#start(assets, started);
      this.#threads.push(thread);
      thread.postMessage({ type: "runThread", module, memory } satisfies ToWorker);
    }
  }

  #post(message: ToWorker): void {
    if (!this.#ended) this.#worker.postMessage(message);
  }

  #receive(message: AboutCall): void {
    const pending = this.#pending.get(message.callId);
    if (!pending) return;
    try {
      if (message.type === "progress") return pending.events.onProgress?.(message.progress);
      if (message.type === "token") return pending.events.onToken?.(message.delta);
    } catch (error) {
      // An exception in the page's listener must not end the call.
      return queueMicrotask(() => {
        throw error;
      });
    }
    this.#pending.delete(message.callId);
    if (message.type === "result") pending.resolve(message.value);
    else
      pending.reject(
        toTabLMError(Object.assign(new Error(message.error.message), { code: message.error.code })),
      );
  }
}

/** Runs one call in a worker of its own; rejects with `aborted` as soon as the signal fires. */
export async function callOnce<Name extends MethodName>(
  method: Name,
  params: Methods[Name]["params"],
  assets: AssetOptions,
  events: CallEvents = {},
): Promise<Methods[Name]["result"]> {
  throwIfAborted(events.signal);
  const client = new Client(assets);
  const called = client.call(method, params, events);
  return orAborted(
    called.finally(() => client.end(new TabLMError("disposed", "the worker was ended"))),
    events.signal,
  );
}

/** Settles as `promise` does, or rejects with `aborted` as soon as the signal fires. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void =>
      reject(new TabLMError("aborted", "aborted by the caller", { cause: signal.reason }));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
