/// <reference lib="esnext.disposable" preserve="true" />
/** A loaded model: chat completions and embeddings, one after another, and disposal. */

import { orAborted, type Client } from "./client.js";
import { TabLMError, throwIfAborted, toTabLMError } from "./errors.js";
import type {
  AnswerDelta,
  FinishReason,
  GeneratedLogprob,
  Profile,
  ToolCall,
} from "./generated.js";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatDelta,
  ChatRequest,
  ChoiceLogprobs,
  Embedding,
  EmbeddingRequest,
  EmbeddingResponse,
  RequestOptions,
  StreamingChatRequest,
  WholeChatRequest,
} from "./openai_types.js";
import type { GenerationEnd, MethodName, Methods } from "./protocol.js";
import { checkEmbeddingRequest, checkRequest, type CheckedRequest } from "./request.js";
import { Stream } from "./stream.js";
import type { ModelInfo, RestoredSession, SaveSessionOptions, StoredSession } from "./types.js";

/** OpenAI's `chat.completions`. */
export interface ChatCompletions {
  create(
    request: StreamingChatRequest,
    options?: RequestOptions,
  ): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: WholeChatRequest, options?: RequestOptions): Promise<ChatCompletion>;
  create(
    request: ChatRequest,
    options?: RequestOptions,
  ): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion>;
}

/** OpenAI's `embeddings`. */
export interface Embeddings {
  create(request: EmbeddingRequest, options?: RequestOptions): Promise<EmbeddingResponse>;
}

/** Saved conversations: the state of the model after reading them. */
export interface Sessions {
  /**
   * Saves the conversation of the last request; resolves to its bytes. With an identifier it is
   * also stored in this origin, in place of an earlier session of that name.
   */
  save(id?: string, options?: SaveSessionOptions): Promise<Blob>;
  /**
   * Continues from a session, given as its bytes or by its identifier: the next request reads only
   * what its messages do not have in common with it.
   */
  restore(saved: Blob | string, options?: RequestOptions): Promise<RestoredSession>;
  /** Lists the sessions that are stored in this origin, the latest first. */
  list(): Promise<StoredSession[]>;
  /** Deletes a stored session; resolves to false if there was none. */
  delete(id: string): Promise<boolean>;
}

/** Milliseconds that a worker has to free the model before it is terminated. */
const DISPOSE_TIMEOUT_MS = 1000;
/**
 * Milliseconds that a request has to stop after an abort before its worker is terminated. A slow
 * processor computes a chunk of a prompt in less; a new worker has to load the model again.
 */
const ABORT_GRACE_MS = 10_000;

/** A worker with the loaded model. */
export interface Loaded {
  client: Client;
  info: ModelInfo;
}

function disposed(): TabLMError {
  return new TabLMError("disposed", "the model was disposed of");
}

function timeout(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A loaded model. Requests run one after another, in the order of the calls. */
export class Model {
  /** `chat.completions.create` answers a conversation. */
  readonly chat: { readonly completions: ChatCompletions };
  /** `embeddings.create` makes a vector for each text. */
  readonly embeddings: Embeddings;
  /** Saved conversations. */
  readonly sessions: Sessions;
  #load: (signal: AbortSignal) => Promise<Loaded>;
  #client: Client;
  #info: ModelInfo;
  /** Reasons why earlier workers were terminated. */
  #warnings: string[] = [];
  /** Settles when the last job of the queue has settled. */
  #tail: Promise<unknown> = Promise.resolve();
  #disposing = new AbortController();
  #disposal: Promise<void> | undefined;

  /** Called by `TabLM.load`; `load` loads the model again into a new worker. */
  constructor(load: (signal: AbortSignal) => Promise<Loaded>, { client, info }: Loaded) {
    this.#load = load;
    this.#client = client;
    this.#info = info;
    const create = ((request: ChatRequest, options?: RequestOptions) =>
      this.#create(request, options)) as ChatCompletions["create"];
    this.chat = { completions: { create } };
    this.embeddings = { create: (request, options) => this.#embed(request, options) };
    this.sessions = {
      save: async (id, { kvFormat, signal } = {}) => {
        if (id !== undefined) checkSessionId(id);
        const params = { id: id ?? null, ...(kvFormat !== undefined && { kvFormat }) };
        return this.#call("saveSession", params, signal);
      },
      restore: async (saved, { signal } = {}) => {
        if (!(saved instanceof Blob)) checkSessionId(saved);
        return this.#call("restoreSession", { saved }, signal);
      },
      list: () => this.#call("listSessions", null),
      delete: async (id) => {
        checkSessionId(id);
        return this.#call("deleteSession", { id });
      },
    };
  }

  /** Report of the model, as of the last request. */
  get info(): ModelInfo {
    if (this.#warnings.length === 0) return this.#info;
    return { ...this.#info, warnings: [...this.#info.warnings, ...this.#warnings] };
  }

  /**
   * Measures a decode step and a chunk of a prompt, kernel by kernel. Waits for earlier requests
   * and takes some seconds; the next request prefills its whole prompt.
   */
  async profile(): Promise<Profile> {
    return this.#call("profile", null);
  }

  /**
   * Stops the running request, frees the GPU and ends the worker. Later requests reject with
   * `disposed`.
   */
  dispose(): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** The worker; if it was terminated, a new one into which the model is loaded again. */
  async #worker(signal: AbortSignal): Promise<Client> {
    const { ended } = this.#client;
    if (ended) {
      const { client, info } = await this.#load(signal);
      [this.#client, this.#info] = [client, info];
      this.#warnings.push(`${ended.code}: ${ended.message}; the model was loaded again`);
    }
    return this.#client;
  }

  async #dispose(): Promise<void> {
    this.#disposing.abort();
    // A worker that computes does not answer in time and is terminated.
    const orderly = this.#tail.then(() => this.#client.call("dispose", null));
    await Promise.race([orderly.catch(() => undefined), timeout(DISPOSE_TIMEOUT_MS)]);
    this.#client.end(disposed());
  }

  async #create(
    request: ChatRequest,
    options: RequestOptions = {},
  ): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion> {
    if (this.#disposing.signal.aborted) throw disposed();
    const checked = checkRequest(request);
    throwIfAborted(options.signal);
    const head = {
      id: `chatcmpl-${crypto.randomUUID()}`,
      created: Math.floor(Date.now() / 1000),
      model: checked.model ?? this.#info.name,
    };
    return checked.stream
      ? this.#stream(head, checked, options)
      : this.#complete(head, checked, options);
  }

  async #embed(
    request: EmbeddingRequest,
    { signal: caller }: RequestOptions = {},
  ): Promise<EmbeddingResponse> {
    if (this.#disposing.signal.aborted) throw disposed();
    const { engine, model, isBase64 } = checkEmbeddingRequest(request);
    throwIfAborted(caller);
    const { embeddings, usage, info } = await this.#call("embed", { request: engine }, caller);
    this.#info = info;
    return {
      object: "list",
      data: embeddings.map((numbers, index): Embedding => ({
        object: "embedding",
        index,
        embedding: isBase64 ? toBase64(numbers) : Array.from(numbers),
      })),
      model: model ?? info.name,
      usage,
    };
  }

  async #complete(
    head: AnswerHead,
    checked: CheckedRequest,
    { signal }: RequestOptions,
  ): Promise<ChatCompletion> {
    let [content, reasoning_content] = ["", ""];
    const tool_calls: ToolCall[] = [];
    const logprobs: GeneratedLogprob[] = [];
    const end = await this.#run(checked.engine, signal, (delta) => {
      content += delta.text;
      reasoning_content += delta.reasoning;
      tool_calls.push(...delta.tool_calls);
      logprobs.push(...delta.logprobs);
    });
    const message = {
      role: "assistant" as const,
      content: content === "" && tool_calls.length > 0 ? null : content,
      ...(reasoning_content && { reasoning_content }),
      ...(tool_calls.length > 0 && { tool_calls }),
      refusal: null,
    };
    return {
      ...head,
      object: "chat.completion",
      choices: [
        {
          index: 0,
          message,
          finish_reason: end.finish_reason as FinishReason,
          logprobs: choiceLogprobs(logprobs),
        },
      ],
      usage: end.usage,
      timings: end.timings,
      token_ids: end.token_ids,
    };
  }

  #stream(
    head: AnswerHead,
    checked: CheckedRequest,
    { signal }: RequestOptions,
  ): AsyncIterable<ChatCompletionChunk> {
    const left = new AbortController();
    const stream = new Stream<ChatCompletionChunk>(() => left.abort());
    const chunk = (
      delta: ChatDelta,
      finish_reason: FinishReason | null,
      logprobs: ChoiceLogprobs | null = null,
    ): ChatCompletionChunk => ({
      ...head,
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta, finish_reason, logprobs }],
    });
    stream.push(chunk({ role: "assistant", content: "" }, null));
    const either = signal ? anySignal([signal, left.signal]) : left.signal;
    let callCount = 0;
    const onDelta = ({ text, reasoning, tool_calls, logprobs }: AnswerDelta): void => {
      const delta: ChatDelta = {
        ...(reasoning && { reasoning_content: reasoning }),
        ...(text && { content: text }),
        ...(tool_calls.length > 0 && {
          tool_calls: tool_calls.map((call) => ({ index: callCount++, ...call })),
        }),
      };
      stream.push(chunk(delta, null, choiceLogprobs(logprobs)));
    };
    this.#run(checked.engine, either, onDelta).then(
      (end) => {
        const { usage, timings, token_ids } = end;
        stream.push({ ...chunk({}, end.finish_reason as FinishReason), usage, timings, token_ids });
        stream.end();
      },
      (error: unknown) => stream.end(error),
    );
    return stream;
  }

  /**
   * Runs a job after all earlier ones. The promise rejects as soon as the signal fires; the next
   * job waits until the worker has stopped or was terminated.
   */
  #enqueue<T>(signal: AbortSignal, job: (worker: Client) => Promise<T>): Promise<T> {
    const result = this.#tail.then(async () => {
      throwIfAborted(signal);
      return job(await this.#worker(signal));
    });
    this.#tail = result.catch(() => undefined);
    return orAborted(result, signal).catch((error: unknown) => {
      throw this.#disposing.signal.aborted ? disposed() : toTabLMError(error);
    });
  }

  /** Calls a method of the worker after all earlier jobs. */
  async #call<Name extends MethodName>(
    method: Name,
    params: Methods[Name]["params"],
    caller?: AbortSignal,
  ): Promise<Methods[Name]["result"]> {
    if (this.#disposing.signal.aborted) throw disposed();
    const signal = caller ? anySignal([caller, this.#disposing.signal]) : this.#disposing.signal;
    return this.#enqueue(signal, (worker) =>
      worker.call(method, params, { signal, graceMs: ABORT_GRACE_MS }),
    );
  }

  /** Runs a request. */
  #run(
    request: string,
    caller: AbortSignal | undefined,
    onDelta: (delta: AnswerDelta) => void,
  ): Promise<GenerationEnd> {
    const signal = caller ? anySignal([caller, this.#disposing.signal]) : this.#disposing.signal;
    const onToken = (delta: AnswerDelta): void => void (signal.aborted || onDelta(delta));
    const events = { signal, onToken, graceMs: ABORT_GRACE_MS };
    return this.#enqueue(signal, async (worker) => {
      const end = await worker.call("generate", { request }, events);
      this.#info = end.info;
      if (end.finish_reason === "abort") throw new TabLMError("aborted", "aborted by the caller");
      return end;
    });
  }
}

/** Throws `invalid-request` for a value that cannot be the name of a stored session. */
function checkSessionId(id: unknown): void {
  if (typeof id === "string" && /^[\w-][\w.-]{0,99}$/.test(id)) return;
  throw new TabLMError(
    "invalid-request",
    `id: found ${String(id)}, expected 1 to 100 letters, digits, "_", "-" or "."`,
  );
}

/** Log-probabilities of generated tokens; `null` for none, which are those not asked for. */
function choiceLogprobs(content: GeneratedLogprob[]): ChoiceLogprobs | null {
  return content.length > 0 ? { content, refusal: null } : null;
}

interface AnswerHead {
  id: string;
  created: number;
  model: string;
}

/** The bytes of numbers in base64. */
function toBase64({ buffer, byteOffset, byteLength }: Float32Array): string {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

/** `AbortSignal.any`, also for browsers without it. */
function anySignal(signals: AbortSignal[]): AbortSignal {
  if ("any" in AbortSignal) return AbortSignal.any(signals);
  const controller = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason);
    signal.addEventListener("abort", () => controller.abort(signal.reason), { once: true });
  }
  return controller.signal;
}
