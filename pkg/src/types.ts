/**
 * Public types of loads, storage and sessions. Options, reports and codes of the engine come from
 * generated.ts; here are those that the package adds. openai_types.ts has those of requests.
 */

import type {
  EngineEstimate,
  EngineInfo,
  EngineOptions,
  GpuCapabilities,
  KvFormat,
  Memory,
  QuantizeFormat,
  SessionReport,
} from "./generated.js";
import type { RequestOptions } from "./openai_types.js";

/**
 * Location of a model: the URL of a `.gguf` file, the URL of a folder with safetensors,
 * `hf:owner/repo[@revision][/file]`, a `File`, or the `File`s of a folder. Of a repository alone,
 * the file that suits the device is chosen.
 */
export type ModelSource = string | URL | File | readonly File[];

/** Phase of a load. */
export type ProgressPhase = "download" | "verify" | "upload" | "compile" | "warmup";

/** Progress of a load or a verification, at most ten times a second. */
export interface Progress {
  /** Phase that is running. */
  phase: ProgressPhase;
  /** Bytes of the phase that are done. */
  loadedBytes: number;
  /** Bytes of the phase in total; `null` if the server does not say. */
  totalBytes: number | null;
  /** Speed over the last four seconds, in bytes per second; `null` at first. */
  bytesPerSecond: number | null;
  /** Seconds left at that speed; `null` where either figure is missing. */
  etaSeconds: number | null;
  /** Name of the file being processed. */
  file: string;
}

/** Options of calls with `hf:` sources. */
export interface HubOptions {
  /** Base URL of `hf:` sources: a mirror or your own server. Default https://huggingface.co/. */
  hubUrl?: string | URL;
  /**
   * Bytes of memory that a model may take, by which a file is chosen where the source names none.
   * Default: `memoryBytes` of `TabLM.capabilities`.
   */
  memoryBytes?: number;
}

/**
 * Build of the engine: `simd` runs in every browser with WebGPU, `relaxed` uses relaxed SIMD,
 * `threads` relaxed SIMD and threads.
 */
export type Build = "simd" | "relaxed" | "threads";

/** Locations of the worker and the wasm. */
export interface AssetOptions {
  /** URL of `worker.js`. Default: beside the package's own module. */
  workerUrl?: string | URL;
  /**
   * URLs of the wasm, by build. A single URL is that of the build `simd`, which is then the only
   * one used. Default: beside the package's own module.
   */
  wasmUrl?: string | URL | Partial<Record<Build, string | URL>>;
}

/** Options of every call that runs in a worker. */
export interface CallOptions extends AssetOptions {
  /** Aborts the call, which then rejects with `aborted`. */
  signal?: AbortSignal;
}

/** Options of `TabLM.load`. */
export interface LoadOptions extends EngineOptions, CallOptions, HubOptions {
  /** Called with the progress of the load. */
  onProgress?: (progress: Progress) => void;
  /**
   * A saved session, as its bytes or the URL of its file, whose beginning a conversation need not
   * read: a system message and tools that `tablm snapshot` has read. One that cannot be used is
   * named in the warnings of `ModelInfo`.
   */
  snapshot?: string | URL | Blob;
}

/** Options of `TabLM.estimate`. */
export interface EstimateOptions
  extends
    Pick<EngineOptions, "contextLength" | "device" | "quantize" | "kvFormat" | "snapshots">,
    CallOptions,
    HubOptions {}

/** Bytes in use, by purpose. */
export interface MemoryInfo extends Memory {
  /** Bytes of the wasm heap. The weights of a model on the GPU are never in it. */
  wasmHeapBytes: number;
}

/** A model in a repository of the hub. */
export interface FileCandidate {
  /** Path of the GGUF file, or of its first part; empty for a folder of safetensors. */
  file: string;
  /** Format that the weights are converted to while loading; absent if they keep theirs. */
  quantize?: QuantizeFormat;
  /** Bytes to download. */
  sizeBytes: number;
  /**
   * Bytes of memory that it needs: exact for the chosen one if its headers were read, estimated for
   * others; `null` if the device cannot hold it.
   */
  memoryBytes: number | null;
  /** True if it needs no more memory than a model may take. */
  fits: boolean;
}

/** Choice of a model in a repository, for a source that names no file. */
export interface FileChoice {
  /** Path of the chosen GGUF file, or of its first part; empty for a folder of safetensors. */
  file: string;
  /** Reason for the choice, as a sentence. */
  reason: string;
  /** Format that was chosen to convert the weights to, because memory is short. */
  quantize?: QuantizeFormat;
  /** Models that could be chosen, best first. */
  candidates: FileCandidate[];
}

/** Report of a loaded model, as of the last request. */
export interface ModelInfo extends EngineInfo {
  /** Build of the engine that runs. */
  build: Build;
  /** Choice of the file, for a repository of the hub without one. */
  choice?: FileChoice;
  /** Bytes in use, by purpose. */
  memory: MemoryInfo;
}

/** Capabilities of this browser: its GPU and the origin's storage. */
export interface Capabilities extends GpuCapabilities {
  /** Storage of this origin. */
  storage: StorageReport;
  /**
   * Bytes that a model should take at most: half of the device's memory, or 2 GiB if the browser
   * does not say.
   */
  memoryBytes: number;
}

/** Storage of the origin. */
export interface StorageReport {
  /** True if models can be stored: the origin private file system is available. */
  opfs: boolean;
  /** Bytes that the origin may store; `null` if the browser does not say. */
  quotaBytes: number | null;
  /** Bytes that the origin stores; `null` if the browser does not say. */
  usageBytes: number | null;
  /** True if the browser does not evict stored models by itself; `null` if it does not say. */
  persisted: boolean | null;
}

/** Estimate of the memory and the download of a model, from its headers alone. */
export interface Estimate extends EngineEstimate {
  /** True if all files of the model are stored in this origin. */
  stored: boolean;
  /** Choice of the file, for a repository of the hub without one. */
  choice?: FileChoice;
}

/** A model that is known to load, by its address on the hub. */
export interface CatalogEntry {
  /** Name of the model. */
  name: string;
  /** Source to pass to `TabLM.load`. */
  source: string;
  /** Format of the weights, as in the file's name. */
  format: string;
  /** Purposes and languages of the model, in a few words. */
  goodFor: string;
  /** Bytes to download. */
  downloadBytes: number;
  /** True if `downloadBytes` is computed from the model's sizes, without its vocabulary. */
  isComputed: boolean;
  /** Bytes of memory on the GPU, with a context of 4096 positions. */
  memoryBytes: number;
  /** License, and the address of its text or of the page that names it. */
  license: { name: string; url: string };
  /** True if that is no more than a model may take here. */
  fits: boolean;
}

/** File of a stored model. */
export interface StoredFile {
  /** Name of the file. */
  name: string;
  /** Bytes of the file. */
  sizeBytes: number;
  /** SHA-256 of the downloaded bytes, in lower-case hexadecimal. */
  sha256: string;
}

/** Model that is stored in this origin. */
export interface StoredModel {
  /** Identifier for `delete` and `verify`. */
  id: string;
  /** URL that it was downloaded from. */
  source: string;
  /** True if all files are stored. */
  complete: boolean;
  /** Bytes of all files. */
  sizeBytes: number;
  /** Files that are stored. */
  files: StoredFile[];
}

/** Verification of one file. */
export interface VerifiedFile {
  /** Name of the file. */
  name: string;
  /** True if the hashes are equal. */
  ok: boolean;
  /** SHA-256 of the downloaded bytes. */
  expectedSha256: string;
  /** SHA-256 of the bytes in storage; empty for a missing file. */
  foundSha256: string;
}

/** Result of `TabLM.models.verify`. */
export interface VerifyReport {
  /** Identifier of the model. */
  id: string;
  /** True if the model is complete and every file equals the downloaded one. */
  ok: boolean;
  /** Verification of each file. */
  files: VerifiedFile[];
}

/** Saved session in this origin's storage. */
export interface StoredSession extends SessionReport {
  /** Identifier that it was saved with, for `restore` and `delete`. */
  id: string;
  /** Bytes of the file. */
  sizeBytes: number;
  /** Time of saving, in milliseconds since 1970. */
  savedAt: number;
}

/** Options of `sessions.save`. */
export interface SaveSessionOptions extends RequestOptions {
  /**
   * Format of keys and values in the session. Default: that of the cache. `q8` takes about half the
   * bytes of `f16`, and rounds.
   */
  kvFormat?: KvFormat;
}

/** Result of `sessions.restore`. */
export interface RestoredSession {
  /** Number of tokens of the conversation, which are not read again. */
  tokens: number;
}
