/** The public shapes: what callers pass in and get back. */

/**
 * Which executor to use: the GPU, the CPU, both (the GPU for prompts, the CPU for tokens, which takes memory for
 * the weights twice), or what a short measurement says.
 */
export type DeviceChoice = "auto" | "webgpu" | "cpu" | "shared";

/** A format that matrices can be turned into while they are loaded. */
export type QuantizeFormat = "T4" | "Q8_0";

/** How keys and values are kept. */
export type KvFormat = "f32" | "f16" | "q8";

/** How a product of many rows is shared out among workgroups and lanes. */
export type Tile = "staged" | "registers" | "quads" | "eights";

/** How lanes work together on a product of one row. */
export type Variant =
  "together" | "wide" | "subgroups" | "half" | "packed" | "alone" | "quads" | "pairs";

/** How the CPU computes: by the meaning of each kernel, or in whole numbers as far as weights allow. */
export type CpuVariant = "exact" | "portable" | "simd128" | "relaxed";

/**
 * Where a model comes from: the URL of a `.gguf` file, the URL of a folder with safetensors,
 * `hf:owner/repo[@revision][/file]`, a `File`, or the `File`s of a folder.
 */
export type ModelSource = string | URL | File | readonly File[];

/** What a load is busy with. */
export type ProgressPhase = "download" | "verify" | "upload" | "compile" | "warmup";

/** One report of progress; `null` where a number is not known. */
export interface Progress {
  phase: ProgressPhase;
  loadedBytes: number;
  totalBytes: number | null;
  bytesPerSecond: number | null;
  etaSeconds: number | null;
  /** The file or step that is being worked on. */
  file: string;
}

/** Where `hf:` sources are, if not on huggingface.co: a mirror, or a server of one's own. */
export interface HubOptions {
  hubUrl?: string | URL;
}

/** Which of the engine's builds runs: wasm with SIMD, which every browser has, with relaxed SIMD, or with threads besides. */
export type Build = "simd" | "relaxed" | "threads";

/** Where the worker and the wasm are, if not beside the package. */
export interface AssetOptions {
  workerUrl?: string | URL;
  /** A URL alone is that of the build `simd`, which is then the one that runs. */
  wasmUrl?: string | URL | Partial<Record<Build, string | URL>>;
}

/** Options of every call that has a worker of its own, which is ended where it does not stop. */
export interface CallOptions extends AssetOptions {
  signal?: AbortSignal;
}

/** Options of `TabLM.load`. */
export interface LoadOptions extends CallOptions, HubOptions {
  onProgress?: (progress: Progress) => void;
  /** Positions the state is made for; at most what the model was trained for. */
  contextLength?: number;
  device?: DeviceChoice;
  /** Turns matrices into this format where that makes them smaller: T4 has 4.5 bits a weight, Q8_0 8.5. */
  quantize?: QuantizeFormat;
  /** How keys and values are kept; by default in f16, but in f32 where all weights are. */
  kvFormat?: KvFormat;
  /** How products of one row are computed on the GPU, instead of what suits it; some need features of the adapter. */
  variant?: Variant;
  /** How products of many rows are, likewise. */
  tile?: Tile;
  /** How the CPU computes, instead of the quickest way that it has. */
  cpuVariant?: CpuVariant;
  /** Threads for the CPU, 64 at most, instead of what suits the processor. Without cross-origin isolation there is one. */
  threads?: number;
  /** A Jinja template instead of the model's own, or for a model that has none. */
  chatTemplate?: string;
}

/** Options of `TabLM.estimate`. */
export interface EstimateOptions extends CallOptions, HubOptions {
  contextLength?: number;
  device?: DeviceChoice;
  quantize?: QuantizeFormat;
  kvFormat?: KvFormat;
}

/** The executor in use. */
export interface DeviceInfo {
  /** `shared`: the GPU reads prompts, the CPU answers. */
  backend: "gpu" | "cpu" | "shared";
  adapter: string;
  features: string[];
  /** Threads that compute, on the CPU. */
  threads?: number;
  /** What was chosen by, if there was a choice: what a token is predicted to take. */
  predicted?: {
    gpu_token_ms: number;
    /** With `device: "auto"` alone. */
    cpu_token_ms?: number;
    /** Of a prompt, where a token is quicker on the CPU but a prompt may not be: each of its tokens, and the state's way. */
    prompt?: { gpu_token_ms: number; cpu_token_ms: number; hand_over_ms: number };
    /** By each way to compute products of one row that was tried, in that order. */
    variants: { variant: Variant; token_ms: number }[];
    /** Whether an earlier load measured it: what it measures is kept for 30 days. */
    cached: boolean;
  };
  [key: string]: unknown;
}

/** Bytes, by what for. */
export interface PlannedMemory {
  weights_bytes: number;
  state_bytes: number;
  scratch_bytes: number;
  peak_gpu_bytes: number;
  /** What is allocated for the CPU to compute with, in the wasm heap. */
  peak_cpu_bytes: number;
}

/** Bytes in use, by what for. */
export interface MemoryInfo extends PlannedMemory {
  /** The size of the wasm heap; weights are never in it on the GPU path. */
  wasm_heap_bytes: number;
  [key: string]: number;
}

/** What a loaded model says of itself. */
export interface ModelInfo {
  /** The name of the file or folder it came from. */
  name: string;
  architecture: string;
  parameters: number;
  contextLength: number;
  /** Whether it reasons before it answers; "optional": as `reasoning_effort` says. */
  thinking: "never" | "optional" | "always";
  /** Whether it can be given `tools`. */
  tools: boolean;
  device: DeviceInfo;
  /** What the files leave open or contradict, and what was taken instead: for people to read. */
  warnings: string[];
  /** How keys and values are kept. */
  kvFormat: KvFormat;
  /** The build that runs. */
  build: Build;
  memory: MemoryInfo;
  step: StepInfo;
  [key: string]: unknown;
}

/** All kernels of a step that are alike. */
export interface KernelProfile {
  /** Kernel, variant, weight format and shape. */
  name: string;
  /** How many there are. */
  count: number;
  /** Microseconds of all of them, and their share of the time of all kernels. */
  us: number;
  time_share: number;
  /** Bytes that they read and write at least. */
  bytes: number;
  gb_per_s: number;
  /** Of what the device copies. */
  bandwidth_share: number;
  /** Multiplications and additions of matrix products, attention and scans. */
  operations: number;
}

/** Where the time of a step goes. */
export interface StepProfile {
  /** Position of the first token, and how many there are. */
  position: number;
  rows: number;
  /** Microseconds of the whole step, until its logits are with the engine: the median, and each run. */
  whole_us: number;
  runs_us: number[];
  /** The slowest first. */
  kernels: KernelProfile[];
}

/** Where time goes, as `Model.profile` measures it. */
export interface Profile {
  /** What told the time: the device, or the clock while we waited for it. */
  timer: "timestamps" | "clock";
  /** What the device reads and writes while it copies, in 10⁹ bytes a second. */
  copy_gb_per_s: number;
  /** A decoding step, and a piece of a prompt. */
  steps: StepProfile[];
}

/** What the last step on the GPU cost besides arithmetic; zeros on the CPU. */
export interface StepInfo {
  dispatches: number;
  submits: number;
  bind_groups_created: number;
  /** Bytes written by the host. */
  write_buffer_bytes: number;
  /** Bytes copied back to the host. */
  readback_bytes: number;
  /** Microseconds to encode it, the mean over the answer's steps of one token. */
  encode_us: number;
  /** Bytes of weights that a step of one token reads. */
  weight_bytes: number;
}

/** What this browser offers; no download. */
export interface Capabilities {
  storage: StorageReport;
  [key: string]: unknown;
}

/** The origin's storage. */
export interface StorageReport {
  /** Whether models can be kept (the origin private file system is there). */
  opfs: boolean;
  quotaBytes: number | null;
  usageBytes: number | null;
  persisted: boolean | null;
}

/** What a model will take, from its headers alone. */
export interface Estimate {
  architecture: string;
  parameters: number;
  context_length: number;
  max_context_length: number;
  /** What it takes on the GPU at that context length. */
  memory: PlannedMemory;
  /** What it takes on the CPU. */
  cpu_memory: PlannedMemory;
  /** Why a tab has no room for that, and which context would fit; `null` if it has. */
  cpu_misfit: string | null;
  /** Bytes that a load would download now; 0 for a stored model. */
  download_bytes: number;
  /** Whether the model is stored in this origin. */
  stored: boolean;
  /** Whether this device's GPU allows buffers as large as it takes; `null` without one. */
  fits: boolean | null;
  /** Why not, and which context would fit. */
  misfit: string | null;
  [key: string]: unknown;
}

/** A stored file. */
export interface StoredFile {
  name: string;
  sizeBytes: number;
  /** Lower-case hex, of the bytes as they arrived; empty while incomplete. */
  sha256: string;
}

/** A model stored in this origin. */
export interface StoredModel {
  id: string;
  source: string;
  complete: boolean;
  sizeBytes: number;
  files: StoredFile[];
}

/** The outcome of `TabLM.models.verify`. */
export interface VerifyReport {
  id: string;
  ok: boolean;
  files: { name: string; ok: boolean; expectedSha256: string; foundSha256: string }[];
}

/** One part of a message. */
export interface TextPart {
  type: "text";
  text: string;
}

/** A call of one of the request's tools. */
export interface ToolCall {
  id: string;
  type: "function";
  /** `arguments` is a JSON object as text. */
  function: { name: string; arguments: string };
}

/** A function the model may call. */
export interface Tool {
  type: "function";
  /** `parameters` is a JSON schema. */
  function: {
    name: string;
    description?: string;
    parameters?: Readonly<Record<string, unknown>>;
    strict?: boolean | null;
  };
}

/** One message of a conversation. */
export type ChatMessage =
  | { role: "system" | "developer" | "user"; content: string | readonly TextPart[] }
  | {
      role: "assistant";
      /** May be `null` beside calls. */
      content?: string | readonly TextPart[] | null;
      tool_calls?: readonly ToolCall[] | null;
      /** What it reasoned; templates drop it from earlier turns. */
      reasoning_content?: string | null;
      refusal?: null;
    }
  | {
      /** What a call gave. */
      role: "tool";
      tool_call_id: string;
      content: string | readonly TextPart[];
    };

/** The parameters of `chat.completions.create`, a subset of OpenAI's plus `top_k`, `min_p`, `repetition_penalty`. */
export interface ChatRequest {
  messages: readonly ChatMessage[];
  /** Echoed in the answer; a loaded model is the only model it has. */
  model?: string | null;
  stream?: boolean | null;
  stream_options?: { include_usage?: boolean } | null;
  /** 0 is greedy; 0 … 2. */
  temperature?: number | null;
  top_p?: number | null;
  top_k?: number | null;
  min_p?: number | null;
  max_completion_tokens?: number | null;
  /** The older name of `max_completion_tokens`. */
  max_tokens?: number | null;
  stop?: string | readonly string[] | null;
  seed?: number | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  repetition_penalty?: number | null;
  logit_bias?: Readonly<Record<string, number>> | null;
  /** Functions the model may call; for models whose `info.tools` is true. */
  tools?: readonly Tool[] | null;
  /** "none" keeps the tools from the model. A certain call cannot be demanded yet. */
  tool_choice?: "auto" | "none" | null;
  /** "none" answers at once, everything else reasons first; without it the model does as it was made to. */
  reasoning_effort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | null;
  /** Only 1. */
  n?: 1 | null;
  /** These are taken as OpenAI takes them, and change nothing: there are no accounts, and models call as they do. */
  parallel_tool_calls?: boolean | null;
  user?: string | null;
  store?: boolean | null;
  metadata?: Readonly<Record<string, string>> | null;
  service_tier?: string | null;
  prompt_cache_key?: string | null;
  safety_identifier?: string | null;
}

/** A request whose answer is streamed. */
export type StreamingChatRequest = ChatRequest & { stream: true };

/** A request whose answer comes whole. */
export type WholeChatRequest = ChatRequest & { stream?: false | null };

/** Options beside a request. */
export interface RequestOptions {
  signal?: AbortSignal;
}

/** Why an answer ended. */
export type FinishReason = "stop" | "length" | "tool_calls";

/** Tokens used. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

/** How fast it was. */
export interface Timings {
  prefill_ms: number;
  first_token_ms: number;
  decode_ms: number;
  prefill_tokens_per_s: number;
  decode_tokens_per_s: number;
}

/** What a chunk adds to the message. Calls come whole, each in one piece. */
export interface ChatDelta {
  role?: "assistant";
  content?: string;
  /** The reasoning before the answer. */
  reasoning_content?: string;
  tool_calls?: (ToolCall & { index: number })[];
}

/** One streamed chunk; the last one has `finish_reason`, `usage`, `timings` and `token_ids`. */
export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: [
    {
      index: 0;
      delta: ChatDelta;
      finish_reason: FinishReason | null;
      logprobs: null;
    },
  ];
  usage?: Usage;
  timings?: Timings;
  /** The answer's tokens, the one that ended it included. */
  token_ids?: number[];
}

/** A whole answer. */
export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: [
    {
      index: 0;
      /** `content` is `null` where there are calls and no text. */
      message: {
        role: "assistant";
        content: string | null;
        reasoning_content?: string;
        tool_calls?: ToolCall[];
        refusal: null;
      };
      finish_reason: FinishReason;
      logprobs: null;
    },
  ];
  usage: Usage;
  timings: Timings;
  /** The answer's tokens, the one that ended it included. */
  token_ids: number[];
}
