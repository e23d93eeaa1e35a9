/** Public types of requests and answers: OpenAI's, and what the package adds to them. */

import type {
  EmbeddingUsage,
  FinishReason,
  GeneratedLogprob,
  SamplingRequest,
  Timings,
  ToolCall,
  Usage,
} from "./generated.js";

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
