/**
 * Public types of the package. Options, reports and codes of the engine come from generated.ts;
 * here are those that the package adds, and OpenAI's.
 */

import type {
  EmbeddingUsage,
  EngineEstimate,
  EngineInfo,
  EngineOptions,
  FinishReason,
  GeneratedLogprob,
  GpuCapabilities,
  Memory,
  QuantizeFormat,
  SamplingRequest,
  Timings,
  ToolCall,
  Usage,
} from "./generated.js";

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

/** Text part of a message's content. */
export interface TextPart {
  /** Kind of the part. */
  type: "text";
  /** The text. */
  text: string;
}

/** Function that a tool describes. */
export interface ToolFunction {
  /** Name by which the model calls it. */
  name: string;
  /** Purpose of the function, for the model. */
  description?: string;
  /** JSON schema of the arguments. */
  parameters?: Readonly<Record<string, unknown>>;
  /** Accepted for compatibility with OpenAI, without effect. */
  strict?: boolean | null;
}

/** Tool that the model may call. */
export interface Tool {
  /** Kind of the tool. */
  type: "function";
  /** The function. */
  function: ToolFunction;
}

/** Message of the system, the developer or the user. */
export interface PromptMessage {
  /** Author of the message. */
  role: "system" | "developer" | "user";
  /** Text of the message. */
  content: string | readonly TextPart[];
}

/** Message of the assistant. */
export interface AssistantMessage {
  /** Author of the message. */
  role: "assistant";
  /** Text of the answer; may be `null` beside calls. */
  content?: string | readonly TextPart[] | null;
  /** Calls of tools. */
  tool_calls?: readonly ToolCall[] | null;
  /** Reasoning before the answer; templates drop it from earlier turns. */
  reasoning_content?: string | null;
  /** Only `null`. */
  refusal?: null;
}

/** Result of a tool call. */
export interface ToolMessage {
  /** Author of the message. */
  role: "tool";
  /** `id` of the call. */
  tool_call_id: string;
  /** Return value of the function, as text. */
  content: string | readonly TextPart[];
}

/** Message of a conversation. */
export type ChatMessage = PromptMessage | AssistantMessage | ToolMessage;

/** Values of `reasoning_effort`. */
export type ReasoningEffort = "none" | "minimal" | "low" | "medium" | "high" | "xhigh";

/**
 * Parameters of `chat.completions.create`: a subset of OpenAI's, and `top_k`, `min_p` and
 * `repetition_penalty`.
 */
export interface ChatRequest extends SamplingRequest {
  /** The conversation, 1 to 4096 messages. */
  messages: readonly ChatMessage[];
  /** Name that the answer repeats as its `model`; it selects nothing. */
  model?: string | null;
  /** True for an answer in chunks. Default false. */
  stream?: boolean | null;
  /** Accepted beside `stream: true`; the last chunk always has `usage`. */
  stream_options?: { include_usage?: boolean } | null;
  /** Older name of `max_completion_tokens`. */
  max_tokens?: number | null;
  /** Functions that the model may call; for models with `info.tools`. */
  tools?: readonly Tool[] | null;
  /** `none` hides the tools from the model. Default `auto`; a call cannot be forced. */
  tool_choice?: "auto" | "none" | null;
  /** `none` disables reasoning, other values enable it. Default: that of the chat template. */
  reasoning_effort?: ReasoningEffort | null;
  /** Number of answers: only 1. */
  n?: 1 | null;
  /** Accepted for compatibility with OpenAI, without effect. */
  parallel_tool_calls?: boolean | null;
  /** Accepted for compatibility with OpenAI, without effect. */
  user?: string | null;
  /** Accepted for compatibility with OpenAI, without effect. */
  store?: boolean | null;
  /** Accepted for compatibility with OpenAI, without effect. */
  metadata?: Readonly<Record<string, string>> | null;
  /** Accepted for compatibility with OpenAI, without effect. */
  service_tier?: string | null;
  /** Accepted for compatibility with OpenAI, without effect. */
  prompt_cache_key?: string | null;
  /** Accepted for compatibility with OpenAI, without effect. */
  safety_identifier?: string | null;
}

/** Request for an answer in chunks. */
export type StreamingChatRequest = ChatRequest & { stream: true };

/** Request for a complete answer. */
export type WholeChatRequest = ChatRequest & { stream?: false | null };

/** Parameters of `embeddings.create`: OpenAI's, and `prompt_name`. */
export interface EmbeddingRequest {
  /**
   * Texts to embed, 1 to 2048, each a string or token ids; or one of them. Strings get the tokens
   * that the model expects around a text; token ids are taken as they are.
   */
  input: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  /** Name that the answer repeats as its `model`; it selects nothing. */
  model?: string | null;
  /** Form of the vectors: numbers, or their bytes in base64. Default `float`. */
  encoding_format?: "float" | "base64" | null;
  /** Leading dimensions to keep; the shorter vectors are normalized again. Default all. */
  dimensions?: number | null;
  /**
   * Name of the prompt that is put before each string, one of those in the model's files. Default:
   * the one that the files name as default, if any.
   */
  prompt_name?: string | null;
  /** Accepted for compatibility with OpenAI, without effect. */
  user?: string | null;
}

/** Vector of one text. */
export interface Embedding {
  /** Kind of the object. */
  object: "embedding";
  /** Index of the text in the request. */
  index: number;
  /** The vector: numbers, or for `base64` the bytes of 32-bit floats, the lowest byte first. */
  embedding: number[] | string;
}

/** Answer of `embeddings.create`. */
export interface EmbeddingResponse {
  /** Kind of the object. */
  object: "list";
  /** A vector for each text, in the order of the request. */
  data: Embedding[];
  /** The request's `model`, or the name of the loaded model. */
  model: string;
  /** Token counts. */
  usage: EmbeddingUsage;
}

/** Options beside a request. */
export interface RequestOptions {
  /** Aborts the request, which then rejects with `aborted`. */
  signal?: AbortSignal;
}

/** Addition of a chunk to the message. */
export interface ChatDelta {
  /** Set in the first chunk. */
  role?: "assistant";
  /** Text of the answer. */
  content?: string;
  /** Reasoning before the answer. */
  reasoning_content?: string;
  /** Calls of tools, each complete in one chunk, with its index in the message. */
  tool_calls?: (ToolCall & { index: number })[];
}

/** Log-probabilities of a choice's tokens. */
export interface ChoiceLogprobs {
  /**
   * The generated tokens, as in `token_ids`: those of reasoning, of calls and the stop token
   * included. A chunk has those that were generated since the chunk before.
   */
  content: GeneratedLogprob[];
  /** Always `null`. */
  refusal: null;
}

/** The only choice of a chunk. */
export interface ChunkChoice {
  /** Always 0. */
  index: 0;
  /** Addition to the message. */
  delta: ChatDelta;
  /** Reason why the answer ended, in the last chunk; `null` before. */
  finish_reason: FinishReason | null;
  /** Log-probabilities, if the request asks for them. */
  logprobs: ChoiceLogprobs | null;
}

/** Chunk of a streamed answer. */
export interface ChatCompletionChunk {
  /** Identifier of the answer. */
  id: string;
  /** Kind of the object. */
  object: "chat.completion.chunk";
  /** Time of the request, in seconds since 1970. */
  created: number;
  /** The request's `model`, or the name of the loaded model. */
  model: string;
  /** One choice. */
  choices: [ChunkChoice];
  /** Token counts, in the last chunk. */
  usage?: Usage;
  /** Times, in the last chunk. */
  timings?: Timings;
  /** Ids of the answer's tokens, including the stop token, in the last chunk. */
  token_ids?: number[];
}

/** Message of a complete answer. */
export interface CompletionMessage {
  /** Author of the message. */
  role: "assistant";
  /** Text of the answer; `null` where there are calls and no text. */
  content: string | null;
  /** Reasoning before the answer, if there was any. */
  reasoning_content?: string;
  /** Calls of tools, if there were any. */
  tool_calls?: ToolCall[];
  /** Always `null`. */
  refusal: null;
}

/** The only choice of a complete answer. */
export interface CompletionChoice {
  /** Always 0. */
  index: 0;
  /** The answer. */
  message: CompletionMessage;
  /** Reason why the answer ended. */
  finish_reason: FinishReason;
  /** Log-probabilities, if the request asks for them. */
  logprobs: ChoiceLogprobs | null;
}

/** Complete answer. */
export interface ChatCompletion {
  /** Identifier of the answer. */
  id: string;
  /** Kind of the object. */
  object: "chat.completion";
  /** Time of the request, in seconds since 1970. */
  created: number;
  /** The request's `model`, or the name of the loaded model. */
  model: string;
  /** One choice. */
  choices: [CompletionChoice];
  /** Token counts. */
  usage: Usage;
  /** Times. */
  timings: Timings;
  /** Ids of the answer's tokens, including the stop token. */
  token_ids: number[];
}
