/** The messages between page and worker, as one union each way. */

import type { WasmUrls } from "./builds.js";
import type { PlainError } from "./errors.js";
import type { SourceDescription } from "./source.js";
import type {
  Capabilities,
  CpuVariant,
  DeviceChoice,
  Estimate,
  FinishReason,
  KvFormat,
  ModelInfo,
  Profile,
  Progress,
  QuantizeFormat,
  StoredModel,
  Tile,
  Timings,
  ToolCall,
  Usage,
  Variant,
  VerifyReport,
} from "./types.js";

/** What the worker gets of the caller's options. */
export interface EngineOptions {
  contextLength?: number;
  device?: DeviceChoice;
  quantize?: QuantizeFormat;
  kvFormat?: KvFormat;
  variant?: Variant;
  tile?: Tile;
  cpuVariant?: CpuVariant;
  threads?: number;
  chatTemplate?: string;
}

/** What has become certain of an answer. */
export interface EngineDelta {
  text: string;
  reasoning: string;
  tool_calls: ToolCall[];
}

/** How a generation ended. */
export interface GenerationEnd {
  finish_reason: FinishReason | "abort";
  usage: Usage;
  timings: Timings;
  token_ids: number[];
  info: ModelInfo;
}

/** Every method of the worker: its parameters and its result. */
export interface Methods {
  load: { params: { source: SourceDescription; options: EngineOptions }; result: ModelInfo };
  estimate: { params: { source: SourceDescription; options: EngineOptions }; result: Estimate };
  capabilities: { params: null; result: Capabilities };
  /** `request` is JSON. */
  generate: { params: { request: string }; result: GenerationEnd };
  profile: { params: null; result: Profile };
  dispose: { params: null; result: null };
  listModels: { params: null; result: StoredModel[] };
  deleteModel: { params: { id: string }; result: boolean };
  verifyModel: { params: { id: string }; result: VerifyReport };
}

export type MethodName = keyof Methods;

/** One call, with its method's parameters. */
export type Call = {
  [Name in MethodName]: { method: Name; params: Methods[Name]["params"] };
}[MethodName];

/** What threads of an engine share. */
export interface RunningEngine {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

/** Page to worker. */
export type ToWorker =
  | { type: "init"; wasmUrls: WasmUrls | null }
  | ({ type: "call"; callId: number } & Call)
  | { type: "abort"; callId: number }
  /** To the engine's worker: all threads are there. */
  | { type: "threadsStarted" }
  /** To a worker of its own: be a thread of that engine. */
  | ({ type: "lend" } & RunningEngine);

/** Worker to page, about a call. */
export type AboutCall =
  | { type: "result"; callId: number; value: unknown }
  | { type: "error"; callId: number; error: PlainError }
  | { type: "progress"; callId: number; progress: Progress }
  | { type: "token"; callId: number; delta: EngineDelta };

/** Worker to page. */
export type FromWorker =
  | AboutCall
  /** Start so many workers for this engine. */
  | ({ type: "startThreads"; count: number } & RunningEngine)
  /** Such a worker is there. */
  | { type: "lent" };
