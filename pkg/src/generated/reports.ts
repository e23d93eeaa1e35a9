/**
 * Reports of the engine, generated from the Rust types. Do not edit: `make types` rewrites this
 * file, and `tests/typescript` compares it.
 */

import type { DeviceChoice, KvFormat, MatvecStrategy, Thinking, FinishReason } from "./options.js";

/** Properties of an adapter that the host knows and the graphics API hides, as browsers do. */
export interface AdapterHints {
  /** See `AdapterReport.name`. */
  name?: string;
  /** See `AdapterReport.driver`. */
  driver?: string;
  /** See `AdapterReport.kind`. */
  kind?: string;
  /** Optional features that every device of the adapter has, by their WebGPU names. */
  features?: string[];
}

/** Properties of an adapter. */
export interface AdapterReport {
  /** Name of the adapter. */
  name: string;
  /** Graphics API, e.g. `vulkan` or `webgpu`. */
  interface: string;
  /** Driver and its version, or another property that its speed depends on. */
  driver: string;
  /** `discrete`, `integrated`, `cpu`, … */
  kind: string;
  /**
   * Optional features, by their WebGPU names; `subgroups-of-8` if subgroups have at least eight
   * lanes.
   */
  features: string[];
  /** Maximum size of a buffer, in bytes. */
  maxBufferBytes: number;
  /** Maximum size of a storage binding, in bytes. */
  maxBindingBytes: number;
}

/** Report of the available GPU. */
export interface GpuCapabilities {
  /** True if there is a usable adapter. */
  webgpu: boolean;
  /** The adapter, or `null`. */
  adapter: AdapterReport | null;
  /** Reason why there is no usable adapter; absent where there is one. */
  reason?: string;
}

/** Progress of a load. */
export interface EngineProgress {
  /** Phase: `upload`, `compile` or `warmup`. */
  phase: "upload" | "compile" | "warmup";
  /** Bytes of weights that were uploaded. */
  loadedBytes: number;
  /** Bytes of all weights. */
  totalBytes: number;
  /** Name of the file that they are read from. */
  file: string;
}

/** Predicted time of a token by one strategy. */
export interface StrategyTime {
  /** Strategy of matrix-vector products. */
  strategy: MatvecStrategy;
  /** Milliseconds of a token. */
  tokenMs: number;
}

/** Predicted times of a prompt. */
export interface PromptPrediction {
  /** Milliseconds of a prompt token on the GPU. */
  gpuTokenMs: number;
  /** Milliseconds of a prompt token on the CPU. */
  cpuTokenMs: number;
  /**
   * Milliseconds of copying the state from the GPU to the CPU and back, for a prompt of 256 tokens
   * and an answer of 64.
   */
  handOverMs: number;
}

/** Predicted times of a model. */
export interface Prediction {
  /** Milliseconds of a generated token on the GPU. */
  gpuTokenMs: number;
  /** Milliseconds of a generated token on the CPU; absent if only the GPU was measured. */
  cpuTokenMs?: number;
  /** Times of a prompt; present if the CPU generates tokens faster, so that prompts decide. */
  prompt?: PromptPrediction;
  /** Times by each strategy, in the order of measurement. */
  strategies: StrategyTime[];
  /** True if the measurements are those of an earlier load. */
  cached: boolean;
}

/** Processor that a model runs on. */
export interface DeviceInfo {
  /**
   * Device in use: `webgpu`, `cpu`, or `hybrid`, where the GPU reads prompts and the CPU generates.
   */
  backend: Exclude<DeviceChoice, "auto">;
  /** Name of the adapter and the interface to it, or of the CPU's instructions in use. */
  adapter: string;
  /** Optional WebGPU features of the adapter; none on the CPU. */
  features: string[];
  /** Number of threads that compute on the CPU; absent on the GPU. */
  threads?: number;
  /** Predicted times by which the device was chosen; absent where there was no choice. */
  predicted?: Prediction;
}

/** Bytes in use, by purpose. */
export interface Memory {
  /** Bytes of the weights, in the executor's layout. */
  weightsBytes: number;
  /** Bytes of the sequence's state: KV caches and recurrent state. */
  stateBytes: number;
  /** Bytes of the snapshots of state that cannot be truncated; 0 for a model without such state. */
  snapshotBytes: number;
  /** Bytes of conversations that are kept outside of the device's memory. */
  sessionBytes: number;
  /** Bytes of everything else: activations, tables, read-back. */
  scratchBytes: number;
  /** Most bytes that were allocated on the GPU. */
  peakGpuBytes: number;
  /** Most bytes that were allocated for the CPU executor. */
  peakCpuBytes: number;
}

/** Cost of the last decoding step on the GPU besides arithmetic; zeros on the CPU. */
export interface StepInfo {
  /** Bytes of weights that a step of one token reads. */
  weightBytes: number;
  /** Kernels dispatched. */
  dispatches: number;
  /** Queue submissions. */
  submits: number;
  /** Bind groups created. */
  bindGroupsCreated: number;
  /** Bytes that the host wrote to buffers. */
  writeBufferBytes: number;
  /** Bytes copied back to the host. */
  readbackBytes: number;
  /**
   * Microseconds of the host to encode a step of one token, without its submission, which may wait
   * for the GPU; the mean over a request.
   */
  encodeUs: number;
}

/** Report of a loaded model. */
export interface EngineInfo {
  /** Name of the model's file or folder. */
  name: string;
  /** Name of the architecture, as GGUF files spell it. */
  architecture: string;
  /** Number of weights in all tensors. */
  parameters: number;
  /** Positions that the KV cache has room for. */
  contextLength: number;
  /** Number of tokens in the vocabulary. */
  vocabularySize: number;
  /** Reasoning before answers; `optional` models follow `reasoning_effort`. */
  thinking: Thinking;
  /** True if the chat template accepts tools. */
  tools: boolean;
  /** Device in use. */
  device: DeviceInfo;
  /** Reason why the model runs on the CPU although the options allow a GPU; absent otherwise. */
  fallbackReason?: string;
  /** Contradictions and gaps in the model's files, and the assumption made for each. */
  warnings: string[];
  /** Bytes in use, by purpose. */
  memory: Memory;
  /** Cost of the last decoding step. */
  step: StepInfo;
  /** Number of compute pipelines that were compiled. */
  pipelines: number;
  /** Format of the KV cache. */
  kvFormat: KvFormat;
  /** Kernels in use, each with the weight format and the strategy or tiling where it has one. */
  kernels: string[];
  /** Milliseconds from the first byte read to readiness. */
  loadMs: number;
  /** Milliseconds of `loadMs` spent waiting for pipelines after the last weight was read. */
  compileMs: number;
}

/** Report of a tensor. */
export interface TensorInfo {
  /** Name in the file. */
  name: string;
  /** Name of the weight format. */
  format: string;
  /** Sizes of the dimensions, outermost first. */
  shape: number[];
  /** Bytes in the file. */
  sizeBytes: number;
}

/** Cost of one decoding step, from its plan. */
export interface PlannedStep {
  /**
   * Kernels that a GPU dispatches at the last position of the context, where their number is
   * greatest.
   */
  dispatches: number;
  /** Bytes of weights read. */
  weightBytes: number;
}

/** Estimate of the memory and the download of a model, from its headers alone. */
export interface EngineEstimate {
  /** Name of the architecture, as GGUF files spell it. */
  architecture: string;
  /** Number of weights in all tensors. */
  parameters: number;
  /** Context length that the figures are for, in positions. */
  contextLength: number;
  /** Longest context that the model supports, in positions. */
  maxContextLength: number;
  /**
   * Bytes of the files. In JavaScript, those that a load would download now: 0 for a stored model.
   */
  downloadBytes: number;
  /** Bytes of the largest single GPU buffer. */
  largestBufferBytes: number;
  /** True if the adapter allows such buffers; `null` without an adapter. */
  fits: boolean | null;
  /** Reason why the GPU cannot hold the model, and the context length that would fit. */
  misfit: string | null;
  /** Every tensor of the files. */
  tensors: TensorInfo[];
  /** Bytes on the GPU, by purpose. */
  memory: Memory;
  /** Bytes on the CPU, by purpose. */
  cpuMemory: Memory;
  /** Reason why the CPU cannot hold the model, and the context length that would fit. */
  cpuMisfit: string | null;
  /** Cost of one decoding step. */
  step: PlannedStep;
}

/** Profile of all kernels of a step with the same name. */
export interface KernelProfile {
  /** Kernel, fused parts, weight format and shape. */
  name: string;
  /** Number of kernels. */
  count: number;
  /** Microseconds of all of them. */
  us: number;
  /** Share of the time of all kernels of the step, 0 to 1. */
  timeShare: number;
  /** Least bytes that they read and write. */
  bytes: number;
  /** Bytes per second, in 10⁹. */
  gbPerS: number;
  /** Share of the bandwidth of a copy, 0 to 1. */
  bandwidthShare: number;
  /** Multiplications and additions of matrix products, attention and scans. */
  operations: number;
}

/** Profile of a step: medians of several runs. */
export interface StepProfile {
  /** Position of the first row. */
  position: number;
  /** Number of rows. */
  rows: number;
  /** Microseconds of the whole step, until the host has its logits. */
  wholeUs: number;
  /** Microseconds of the whole step in each run. */
  runsUs: number[];
  /** The step's kernels, the slowest first. */
  kernels: KernelProfile[];
}

/** Profile of some steps. */
export interface Profile {
  /** Source of the times: `timestamps` of the GPU, or the host's `clock`. */
  timer: "timestamps" | "clock";
  /** Bytes that the device reads and writes per second while it copies, in 10⁹. */
  copyGbPerS: number;
  /** The steps, in the order of the request. */
  steps: StepProfile[];
}

/** Description of a saved session. */
export interface SessionReport {
  /** Name of the model's file. */
  model: string;
  /** Number of tokens. */
  tokens: number;
  /** Reason why the loaded model cannot continue from it. */
  problem: string | null;
}

/** A function name and its arguments. */
export interface FunctionCall {
  /** Function name. */
  name: string;
  /** A JSON object, as text. */
  arguments: string;
}

/** A complete tool call in OpenAI's format. */
export interface ToolCall {
  /**
   * Nine letters and digits, as the strictest templates require. Equal calls at the same position
   * of equal conversations have equal ids.
   */
  id: string;
  /** Always `function`. */
  type: "function";
  /** The function and its arguments. */
  function: FunctionCall;
}

/** Log-probability of a token of the vocabulary, as OpenAI reports it, and the token's id. */
export interface TokenLogprob {
  /** Text of the token; U+FFFD for bytes that are not UTF-8. */
  token: string;
  /**
   * Natural logarithm of the token's probability before penalties, `logit_bias` and the
   * temperature; at least -9999.
   */
  logprob: number;
  /** UTF-8 bytes of the token, which may be part of a character. */
  bytes: number[];
  /** Id of the token. */
  id: number;
}

/** Log-probabilities of a generated token and of the most probable ones in its place. */
export interface GeneratedLogprob {
  /** The most probable tokens, in descending order; as many as `top_logprobs` asks for. */
  top_logprobs: TokenLogprob[];
  /** Text of the token; U+FFFD for bytes that are not UTF-8. */
  token: string;
  /**
   * Natural logarithm of the token's probability before penalties, `logit_bias` and the
   * temperature; at least -9999.
   */
  logprob: number;
  /** UTF-8 bytes of the token, which may be part of a character. */
  bytes: number[];
  /** Id of the token. */
  id: number;
}

/** The parts of an answer that have become certain since the previous call. */
export interface AnswerDelta {
  /** Text of the answer. */
  text: string;
  /** Text of the reasoning. */
  reasoning: string;
  /** Complete tool calls. */
  tool_calls: ToolCall[];
  /** Log-probabilities of the tokens, if the request asks for them. */
  logprobs: GeneratedLogprob[];
}

/** Parts of the tokens of a prompt, as OpenAI reports them. */
export interface PromptTokensDetails {
  /** Tokens that were not read again, because the sequence before had them too. */
  cached_tokens: number;
}

/** Token counts, as OpenAI reports them. */
export interface Usage {
  /** Tokens of the prompt. */
  prompt_tokens: number;
  /** Generated tokens, including the stop token. */
  completion_tokens: number;
  /** Sum of both. */
  total_tokens: number;
  /** Parts of the prompt. */
  prompt_tokens_details: PromptTokensDetails;
  /** Messages that were left out, because all did not fit the context (`truncation`). */
  omitted_messages: number;
}

/** Token counts of a request for embeddings, as OpenAI reports them. */
export interface EmbeddingUsage {
  /** Tokens of all texts. */
  prompt_tokens: number;
  /** Tokens of the request, equal to `prompt_tokens`. */
  total_tokens: number;
}

/** Times and rates of a request. */
export interface Timings {
  /** Milliseconds of the prefill. */
  prefill_ms: number;
  /** Milliseconds from the request to the first token. */
  first_token_ms: number;
  /** Milliseconds from the first token to the last. */
  decode_ms: number;
  /** Prompt tokens read per second, not counting those of a reused prefix. */
  prefill_tokens_per_s: number;
  /** Tokens per second after the first. */
  decode_tokens_per_s: number;
}

/** Completed answer. */
export interface Completion {
  /** Text of the answer. */
  text: string;
  /** Reasoning before the answer, if the model marks it as such. */
  reasoning: string | null;
  /** Calls of the request's tools. */
  tool_calls: ToolCall[];
  /** Tokens of the answer, including the stop token. */
  token_ids: number[];
  /** Log-probabilities of these tokens, if the request asks for them. */
  logprobs: GeneratedLogprob[];
  /** Tokens of the prompt. */
  prompt_token_ids: number[];
  /** Reason why the answer ended: `stop`, `tool_calls`, `length` or `abort`. */
  finish_reason: FinishReason | "abort";
  /** Token counts. */
  usage: Usage;
  /** Times and rates. */
  timings: Timings;
}
