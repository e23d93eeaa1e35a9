/**
 * Options, names and error codes of the engine, generated from the Rust types. Do not edit: `make
 * types` rewrites this file, and `tests/typescript` compares it.
 */

/** Stable name of a kind of error; docs/troubleshooting.md explains each. */
export type ErrorCode =
  | "no-gpu"
  | "gpu-too-small"
  | "device-lost"
  | "out-of-memory"
  | "unknown-architecture"
  | "unsupported-format"
  | "missing-tensors"
  | "malformed"
  | "network"
  | "integrity"
  | "storage-full"
  | "context-full"
  | "invalid-request"
  | "invalid-grammar"
  | "aborted"
  | "disposed"
  | "internal";

/** Device asked for. */
export type DeviceChoice = "auto" | "webgpu" | "cpu" | "hybrid";

/** A format that matrices can be converted to. */
export type QuantizeFormat = "T4" | "Q8_0";

/** Storage format of the KV cache. */
export type KvFormat = "f32" | "f16" | "q8";

/** A way to compute a matrix-vector product. */
export type MatvecStrategy =
  | "workgroup_reduce"
  | "workgroup_reduce_32"
  | "subgroup_reduce"
  | "workgroup_reduce_32_f16"
  | "workgroup_reduce_32_dp4a"
  | "lane_per_quad"
  | "lane_per_quad_broadcast"
  | "lane_per_quad_broadcast_int10x2";

/** A division of a matrix product into workgroups and lanes. */
export type MatmulTiling =
  "workgroup_memory" | "registers" | "registers_broadcast4" | "registers_broadcast8";

/** Implementation of the kernels on the CPU. */
export type CpuVariant =
  "exact" | "portable" | "avx2" | "avxvnni" | "avx512" | "neon" | "dotprod" | "simd128" | "relaxed";

/** Condition under which a model reasons before it answers. */
export type Thinking = "never" | "optional" | "always";

/** Reason why an answer ended. */
export type FinishReason = "stop" | "length" | "tool_calls";

/**
 * Options of a load as the caller gives them. Those that can cross a process or thread boundary are
 * read from JSON with camel-case keys; unknown keys are errors.
 */
export interface EngineOptions {
  /**
   * Device to use: the GPU (`webgpu`), the CPU (`cpu`), the GPU for prefill and the CPU for decode,
   * with the weights in both memories (`hybrid`), or the fastest by a short measurement (`auto`).
   * The default is `auto`.
   */
  device?: DeviceChoice;
  /**
   * Context length in positions. The default is 4096 or what the model supports, whichever is less,
   * and fewer where these would take far more memory than the weights.
   */
  contextLength?: number;
  /**
   * Format that matrices are converted to where that makes them smaller: `T4` has 4.5 bits per
   * weight, `Q8_0` 8.5. By default they keep the format of the file.
   */
  quantize?: QuantizeFormat;
  /** Format of the KV cache. The default is f16, or f32 where all weights are f32. */
  kvFormat?: KvFormat;
  /**
   * Snapshots of state that cannot be truncated, such as that of Mamba-2 layers: positions of a
   * conversation to which a prompt can go back without being read from the beginning. One keeps the
   * last turn, two also the system message and tools, more also earlier turns. From 0 to 64,
   * default 1, or 0 where the CPU lacks memory. Their bytes are reported; models without such state
   * take none.
   */
  snapshots?: number;
  /**
   * Most bytes of conversations that are kept, outside of the device's memory, when another one
   * takes their place. A request continues the one that it has most in common with. The default is
   * 256 MiB; 0 keeps none.
   */
  sessionBytes?: number;
  /** Chat template in Jinja, instead of the checkpoint's or for a checkpoint without one. */
  chatTemplate?: string;
  /** Strategy of matrix-vector products on the GPU, instead of the one chosen for the adapter. */
  strategy?: MatvecStrategy;
  /** Tiling of matrix products on the GPU, instead of the one chosen for the adapter. */
  tiling?: MatmulTiling;
  /** Instructions that the CPU computes with, instead of the fastest available. */
  cpuVariant?: CpuVariant;
  /**
   * Number of threads on the CPU. 1 to 256, default by the number of processors, at most 8; always
   * 1 without cross-origin isolation.
   */
  threads?: number;
}

/** Fields of a chat request that the engine reads and checks. */
export interface SamplingRequest {
  /**
   * Most tokens to generate. An integer from 1 to 2147483647, default what the context has room
   * for.
   */
  max_completion_tokens?: number | null;
  /**
   * Divides the logits before the draw; 0 always takes the most likely token. 0 to 2, default 1.
   */
  temperature?: number | null;
  /**
   * Draws from this many of the most likely tokens; 0 draws from all. An integer. 0 to 2147483647,
   * default 0.
   */
  top_k?: number | null;
  /**
   * Draws from the most likely tokens whose probabilities sum to this; 0 always takes the most
   * likely token. 0 to 1, default 1.
   */
  top_p?: number | null;
  /**
   * Draws from tokens at least this probable, relative to the most likely token. 0 to 1, default 0.
   */
  min_p?: number | null;
  /**
   * Divides positive logits and multiplies negative logits of tokens that occurred in the prompt or
   * the answer. 0.01 to 10, default 1.
   */
  repetition_penalty?: number | null;
  /** Subtracted from a token's logit for each time that the answer has it. -2 to 2, default 0. */
  frequency_penalty?: number | null;
  /** Subtracted from a token's logit once if the answer has it. -2 to 2, default 0. */
  presence_penalty?: number | null;
  /**
   * Numbers to add to logits, by token id. -100 to 100, where -100 excludes the token; at most 1024
   * tokens.
   */
  logit_bias?: Readonly<Record<string, number>> | null;
  /**
   * True to report the log-probability of each generated token. Decoding on the GPU is slower then.
   * Default `false`.
   */
  logprobs?: boolean | null;
  /**
   * Seed of the draws: the same request with the same seed gives the same answer. An integer,
   * default a random one.
   */
  seed?: number | null;
  /**
   * Strings that end the answer and are not part of it. At most 16 strings of 1 to 1024 characters.
   */
  stop?: string | readonly string[] | null;
  /**
   * Most probable tokens to report in place of each generated one. An integer from 0 to 20, only
   * with `logprobs`. Default 0.
   */
  top_logprobs?: number | null;
  /**
   * What happens to messages that do not fit the context with room for an answer: `disabled`
   * rejects those that do not fit at all with `context-full`; `auto` leaves out the oldest turns,
   * but neither the system messages at the beginning, nor tools, nor the last turn. Default
   * `disabled`.
   */
  truncation?: "auto" | "disabled" | null;
}

/** Every {@link ErrorCode}. */
export const errorCodes = [
  "no-gpu",
  "gpu-too-small",
  "device-lost",
  "out-of-memory",
  "unknown-architecture",
  "unsupported-format",
  "missing-tensors",
  "malformed",
  "network",
  "integrity",
  "storage-full",
  "context-full",
  "invalid-request",
  "invalid-grammar",
  "aborted",
  "disposed",
  "internal",
] as const satisfies readonly ErrorCode[];

/** The values of each engine option that is a name. */
export const optionValues = {
  device: ["auto", "webgpu", "cpu", "hybrid"],
  quantize: ["T4", "Q8_0"],
  kvFormat: ["f32", "f16", "q8"],
  strategy: [
    "workgroup_reduce",
    "workgroup_reduce_32",
    "subgroup_reduce",
    "workgroup_reduce_32_f16",
    "workgroup_reduce_32_dp4a",
    "lane_per_quad",
    "lane_per_quad_broadcast",
    "lane_per_quad_broadcast_int10x2",
  ],
  tiling: ["workgroup_memory", "registers", "registers_broadcast4", "registers_broadcast8"],
  cpuVariant: [
    "exact",
    "portable",
    "avx2",
    "avxvnni",
    "avx512",
    "neon",
    "dotprod",
    "simd128",
    "relaxed",
  ],
} as const satisfies { [Name in keyof EngineOptions]?: readonly EngineOptions[Name][] };

/** The names of the fields of {@link SamplingRequest}. */
export const requestFields = [
  "max_completion_tokens",
  "temperature",
  "top_k",
  "top_p",
  "min_p",
  "repetition_penalty",
  "frequency_penalty",
  "presence_penalty",
  "logit_bias",
  "logprobs",
  "seed",
  "stop",
  "top_logprobs",
  "truncation",
] as const satisfies readonly (keyof SamplingRequest)[];

/** Most threads that the CPU can be given. */
export const maxThreads = 256;

/** Most snapshots of a model's state. */
export const maxSnapshots = 64;
