/** Messages between page and worker, one union for each direction. */

import type { WasmUrls } from "./builds.js";
import type { PlainError } from "./errors.js";
import type {
  AnswerDelta,
  Completion,
  EmbeddingUsage,
  EngineOptions,
  KvFormat,
  Profile,
} from "./generated.js";
import type { SourceDescription } from "./source.js";
import type {
  Capabilities,
  Estimate,
  ModelInfo,
  Progress,
  RestoredSession,
  StoredModel,
  StoredSession,
  VerifyReport,
} from "./types.js";

/** End of a generation, with the report of the model after it. */
export interface GenerationEnd extends Pick<
  Completion,
  "finish_reason" | "usage" | "timings" | "token_ids"
> {
  info: ModelInfo;
}

/** Embeddings of all texts of a request, with the report of the model after it. */
export interface EmbeddingsEnd {
  embeddings: Float32Array[];
  usage: EmbeddingUsage;
  info: ModelInfo;
}

/** Methods of the worker, each with its parameters and its result. */
export interface Methods {
  /** `snapshot` is the URL of a saved session, or its bytes. */
  load: {
    params: { source: SourceDescription; options: EngineOptions; snapshot: string | Blob | null };
    result: ModelInfo;
  };
  estimate: { params: { source: SourceDescription; options: EngineOptions }; result: Estimate };
  capabilities: { params: null; result: Capabilities };
  /** `request` is JSON in the engine's form. */
  generate: { params: { request: string }; result: GenerationEnd };
  /** `request` is JSON in the engine's form. */
  embed: { params: { request: string }; result: EmbeddingsEnd };
  profile: { params: null; result: Profile };
  /** Stores the session too if `id` is given. */
  saveSession: { params: { id: string | null; kvFormat?: KvFormat }; result: Blob };
  /** `saved` is the identifier of a stored session, or the bytes of one. */
  restoreSession: { params: { saved: string | Blob }; result: RestoredSession };
  listSessions: { params: null; result: StoredSession[] };
  deleteSession: { params: { id: string }; result: boolean };
  dispose: { params: null; result: null };
  listModels: { params: null; result: StoredModel[] };
  deleteModel: { params: { id: string }; result: boolean };
  verifyModel: { params: { id: string }; result: VerifyReport };
}

export type MethodName = keyof Methods;

/** A method with its parameters. */
export type Call = {
  [Name in MethodName]: { method: Name; params: Methods[Name]["params"] };
}[MethodName];

/** Module and memory that the threads of an engine share. */
export interface RunningEngine {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

/** Messages from page to worker. */
export type ToWorker =
  | { type: "init"; wasmUrls: WasmUrls | null }
  | ({ type: "call"; callId: number } & Call)
  | { type: "abort"; callId: number }
  /** All threads of the engine have started. */
  | { type: "threadsStarted" }
  /** Makes a new worker a thread of this engine. */
  | ({ type: "runThread" } & RunningEngine);

/** Messages from worker to page about a call. */
export type AboutCall =
  | { type: "result"; callId: number; value: unknown }
  | { type: "error"; callId: number; error: PlainError }
  | { type: "progress"; callId: number; progress: Progress }
  | { type: "token"; callId: number; delta: AnswerDelta };

/** Messages from worker to page. */
export type FromWorker =
  | AboutCall
  /** Asks the page to start workers as threads of this engine. */
  | ({ type: "startThreads"; count: number } & RunningEngine)
  /** Reports that the worker of a thread has started. */
  | { type: "threadStarted" };
