/// <reference lib="esnext.disposable" preserve="true" />
/** A loaded model: its chat completions, one after another, and its end. */

import { orAborted, type Client } from "./client.js";
import { TabLMError, throwIfAborted, toTabLMError } from "./errors.js";
import type { EngineDelta, GenerationEnd } from "./protocol.js";
import { checkRequest, type CheckedRequest } from "./request.js";
import { Stream } from "./stream.js";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatDelta,
  ChatRequest,
  FinishReason,
  ModelInfo,
  Profile,
  RequestOptions,
  StreamingChatRequest,
  ToolCall,
  WholeChatRequest,
} from "./types.js";

/** `chat.completions` in OpenAI's shape. */
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

const DISPOSE_TIMEOUT_MS = 1000;
/** A piece of a prompt that a slow processor computes is worth waiting for: a new worker loads the model anew. */
const ABORT_GRACE_MS = 10_000;

/** A worker that holds the model. */
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

/** A model in its worker. Requests run one after another, in the order they were made. */
export class Model {
  /** OpenAI's entry point. */
  readonly chat: { readonly completions: ChatCompletions };
  #load: (signal: AbortSignal) => Promise<Loaded>;
  #client: Client;
  #info: ModelInfo;
  /** What became of earlier workers. */
  #warnings: string[] = [];
  /** Settles when the last request in the queue has. */
  #tail: Promise<unknown> = Promise.resolve();
  #disposing = new AbortController();
  #disposal: Promise<void> | undefined;

  /** Made by `TabLM.load`; `load` does it again for a new worker. */
  constructor(load: (signal: AbortSignal) => Promise<Loaded>, { client, info }: Loaded) {
    this.#load = load;
    this.#client = client;
    this.#info = info;
    const create = ((request: ChatRequest, options?: RequestOptions) =>
      this.#create(request, options)) as ChatCompletions["create"];
    this.chat = { completions: { create } };
  }

  /** Architecture, device and memory, as of the last request. */
  get info(): ModelInfo {
    if (this.#warnings.length === 0) return this.#info;
    const own = (this.#info["warnings"] ?? []) as string[];
    return { ...this.#info, warnings: [...own, ...this.#warnings] };
  }

  /**
   * Where the time of a decoding step and of a piece of a prompt goes, kernel by kernel. It has its
   * turn among the requests and takes some seconds; the next request reads its prompt from the start.
   */
  async profile(): Promise<Profile> {
    if (this.#disposing.signal.aborted) throw disposed();
    const turn = this.#tail.then(async () =>
      (await this.#worker(this.#disposing.signal)).call("profile", null),
    );
    this.#tail = turn.catch(() => undefined);
    return orAborted(turn, this.#disposing.signal).catch((error: unknown) => {
      throw this.#disposing.signal.aborted ? disposed() : toTabLMError(error);
    });
  }

  /** Stops what runs, frees the GPU and ends the worker. Further requests are `disposed`. */
  dispose(): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** The worker; in place of one that was ended a new one, with the model loaded into it. */
  async #worker(signal: AbortSignal): Promise<Client> {
    const { ended } = this.#client;
    if (ended) {
      const { client, info } = await this.#load(signal);
      [this.#client, this.#info] = [client, info];
      this.#warnings.push(`${ended.code}: ${ended.message}; the model was loaded anew`);
    }
    return this.#client;
  }

  async #dispose(): Promise<void> {
    this.#disposing.abort();
    // A worker that is deep in a computation is ended all the same.
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
      : this.#whole(head, checked, options);
  }

  async #whole(
    head: AnswerHead,
    checked: CheckedRequest,
    { signal }: RequestOptions,
  ): Promise<ChatCompletion> {
    let [content, reasoning_content] = ["", ""];
    const tool_calls: ToolCall[] = [];
    const end = await this.#run(checked.engine, signal, (delta) => {
      content += delta.text;
      reasoning_content += delta.reasoning;
      tool_calls.push(...delta.tool_calls);
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
        { index: 0, message, finish_reason: end.finish_reason as FinishReason, logprobs: null },
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
    const chunk = (delta: ChatDelta, finish_reason: FinishReason | null): ChatCompletionChunk => ({
      ...head,
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta, finish_reason, logprobs: null }],
    });
    stream.push(chunk({ role: "assistant", content: "" }, null));
    const either = signal ? anySignal([signal, left.signal]) : left.signal;
    let callCount = 0;
    const onDelta = ({ text, reasoning, tool_calls }: EngineDelta): void => {
      const delta: ChatDelta = {
        ...(reasoning && { reasoning_content: reasoning }),
        ...(text && { content: text }),
        ...(tool_calls.length > 0 && {
          tool_calls: tool_calls.map((call) => ({ index: callCount++, ...call })),
        }),
      };
      stream.push(chunk(delta, null));
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
   * Runs a request when its turn comes. The caller is answered the moment its signal fires;
   * the next request waits until the worker has really stopped, or is replaced.
   */
  #run(
    request: string,
    caller: AbortSignal | undefined,
    onDelta: (delta: EngineDelta) => void,
  ): Promise<GenerationEnd> {
    const signal = caller ? anySignal([caller, this.#disposing.signal]) : this.#disposing.signal;
    const turn = this.#tail.then(async () => {
      throwIfAborted(signal);
      const onToken = (delta: EngineDelta): void => void (signal.aborted || onDelta(delta));
      const worker = await this.#worker(signal);
      const end = await worker.call(
        "generate",
        { request },
        { signal, onToken, graceMs: ABORT_GRACE_MS },
      );
      this.#info = end.info;
      if (end.finish_reason === "abort") throw new TabLMError("aborted", "aborted by the caller");
      return end;
    });
    this.#tail = turn.catch(() => undefined);
    return orAborted(turn, signal).catch((error: unknown) => {
      throw this.#disposing.signal.aborted ? disposed() : toTabLMError(error);
    });
  }
}

interface AnswerHead {
  id: string;
  created: number;
  model: string;
}

/** `AbortSignal.any`, also where the browser does not have it yet. */
function anySignal(signals: AbortSignal[]): AbortSignal {
  if ("any" in AbortSignal) return AbortSignal.any(signals);
  const controller = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason);
    signal.addEventListener("abort", () => controller.abort(signal.reason), { once: true });
  }
  return controller.signal;
}
