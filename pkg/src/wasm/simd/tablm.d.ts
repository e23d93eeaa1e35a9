/**
 * The boundary of the engine's wasm module, as `src/web/` exports it; in builds, the module that
 * wasm-bindgen generates takes this file's place. Options and reports cross it as JSON of the types
 * in `generated.ts`. Methods throw errors with a `code` ({@link ErrorCode}).
 */

/** A file that the engine reads in pieces. */
export interface SourceFile {
  name: string;
  sizeBytes: number;
  /** Reads `length` bytes at `offset`. */
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>;
  /** Fills `bytes` from `offset` synchronously; absent where that is impossible. */
  readInto?(bytes: Uint8Array, offset: number): void;
}

/** Services that the engine calls. */
export interface Host {
  /** Compiles pipelines that will be asked for: JSON `[{label, code, constants, groups}]`. */
  compileAhead(json: string): Promise<void>;
  /** Appends bytes to the kept session of that number. */
  appendSession(id: number, bytes: Uint8Array): void;
  /** Opens a kept session. */
  openSession(id: number): SourceFile;
  /** Removes a kept session, if it exists. */
  removeSession(id: number): void;
  /** Number of threads on the CPU, with the engine's own: 1 except in the build `threads`. */
  threads: number;
  /** Starts the other threads, which instantiate the module in the memory and call `runThread`. */
  startThreads(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<void>;
}

/** A load up to the first weight: an open GPU, the plans, and pipelines in compilation. */
export class Prepared {
  private constructor();
  /** Prepares a load from headers alone. `options` is JSON ({@link EngineOptions}). */
  static of(files: SourceFile[], options: string, host: Host): Promise<Prepared>;
  free(): void;
  [Symbol.dispose](): void;
}

/** A loaded model with its executor and the state of its sequence. */
export class Engine {
  private constructor();
  /**
   * Loads a model. `options` is JSON ({@link EngineOptions}), `onProgress` receives JSON
   * ({@link EngineProgress}); `prepared` must have the same options, and is consumed.
   */
  static load(
    files: SourceFile[],
    options: string,
    onProgress: (json: string) => void,
    host: Host,
    prepared?: Prepared,
  ): Promise<Engine>;
  /** JSON ({@link EngineInfo}). */
  info(): string;
  /** Text for the option `tuningCache` of later loads, if this load measured anything. */
  tuningCache(): string | undefined;
  /** Starts a request, which is JSON: {@link SamplingRequest} with messages, tools and thinking. */
  begin(request: string): void;
  /**
   * JSON: `{"type": "token"}` with {@link AnswerDelta}, or `{"type": "done"}` with {@link
   * Completion}.
   */
  next(): Promise<string>;
  /**
   * Starts a request for embeddings, which is JSON: {@link EmbeddingRequest} without `model` and
   * `user`. Returns JSON ({@link EmbeddingUsage}).
   */
  beginEmbeddings(request: string): string;
  /** Embedding of the next text; `undefined` after the last. */
  nextEmbedding(): Promise<Float32Array | undefined>;
  /** JSON ({@link Profile}). */
  profile(): Promise<string>;
  /**
   * Saves the conversation as a session, whose bytes `write` receives part by part. `kvFormat` is
   * the format of keys and values in it, by default that of the cache.
   */
  saveSession(kvFormat: string | undefined, write: (bytes: Uint8Array) => void): Promise<void>;
  /** Continues from a saved session; returns its number of tokens. */
  restoreSession(file: SourceFile): Promise<number>;
  /**
   * Keeps a saved session until the model is unloaded, for requests that begin as it does; false if
   * it does not fit into the memory for kept sessions.
   */
  keepSession(file: SourceFile): Promise<boolean>;
  /** JSON ({@link SessionReport}), from the header of a saved session. */
  describeSession(file: SourceFile): Promise<string>;
  /** Ends the running request: the next event has the finish reason `abort`. */
  stop(): void;
  free(): void;
}

/** JSON ({@link GpuCapabilities}); of the options, `adapter` is used. */
export function capabilities(options: string): Promise<string>;

/** JSON ({@link EngineEstimate}), from headers alone. */
export function estimate(files: SourceFile[], options: string): Promise<string>;

/** Runs this thread as a worker of the engine in the same memory, until that engine is dropped. */
export function runThread(): void;

/** Instantiates the wasm from a URL or a module; only the build `threads` takes a memory. */
export default function init(options: {
  module_or_path: string | URL | WebAssembly.Module;
  memory?: WebAssembly.Memory | undefined;
}): Promise<{ memory: WebAssembly.Memory }>;
