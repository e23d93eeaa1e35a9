/** The engine's boundary, as src/web/ exports it; the generated module takes this file's place. */

/** A file the engine reads in pieces. */
export interface SourceFile {
  name: string;
  sizeBytes: number;
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>;
  /** Fills `bytes` at once, where it can. */
  readInto?(bytes: Uint8Array, offset: number): void;
}

/** What the engine has others do. */
export interface Host {
  /** Gets pipelines that will be asked for, JSON `[{label, code, constants, groups}]`; may compile them ahead. */
  compileAhead(json: string): Promise<void>;
  /** How many threads the CPU may have, the engine's own among them: 1 but in the threaded build. */
  threads: number;
  /** Has the others started, in which our module with our memory calls `lendThread`. */
  startThreads(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<void>;
}

/** What a load does before there are weights: an open GPU, and what was chosen. */
export class Prepared {
  private constructor();
  /** Reads headers alone. For `Engine.load` with the same options, which takes it. */
  static of(files: SourceFile[], options: string, host: Host): Promise<Prepared>;
  free(): void;
  [Symbol.dispose](): void;
}

/** One model with its executor and its conversation state. */
export class Engine {
  private constructor();
  /** `options`: JSON `{contextLength?, device?, quantize?, …}`; `onProgress`: JSON `{phase, loadedBytes, totalBytes, file}`. */
  static load(
    files: SourceFile[],
    options: string,
    onProgress: (json: string) => void,
    host: Host,
    prepared?: Prepared,
  ): Promise<Engine>;
  /** JSON: architecture, parameters, contextLength, device, memory, step. */
  info(): string;
  /** What to give later loads as the option `verdicts`, if this one measured anything. */
  verdicts(): string | undefined;
  /** Starts a request, given as JSON. */
  begin(request: string): void;
  /** JSON `{"type":"token","text","reasoning","tool_calls"}` or `{"type":"done","finish_reason","usage","timings"}`. */
  next(): Promise<string>;
  /** JSON: a `Profile`. */
  profile(): Promise<string>;
  /** Ends the running request: the next `next()` is done with finish_reason "abort". */
  stop(): void;
  free(): void;
}

/** JSON: adapter, features, limits; of the options, JSON, `adapter` counts. */
export function capabilities(options: string): Promise<string>;

/** JSON, from the headers alone. */
export function estimate(files: SourceFile[], options: string): Promise<string>;

/** Lends this thread to the engine whose memory it shares, until that needs it no more. */
export function lendThread(): void;

/** Instantiates the wasm, fetched or at hand; only the build with threads takes a memory. */
export default function init(options: {
  module_or_path: string | URL | WebAssembly.Module;
  memory?: WebAssembly.Memory | undefined;
}): Promise<{ memory: WebAssembly.Memory }>;
