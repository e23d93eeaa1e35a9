/**
 * A chat request, put into the engine's words. Here is checked what is needed for that: which fields there are,
 * and the shape of messages. Ranges and the rest are the engine's to check; nothing is ignored in silence.
 */

import { TabLMError } from "./errors.js";
import type { Tool, ToolCall } from "./types.js";

/** A message as templates read it. */
export interface EngineMessage {
  role: "system" | "user" | "assistant" | "tool";
  content: string | null;
  tool_calls?: ToolCall[];
  reasoning_content?: string;
  tool_call_id?: string;
}

/** Fields that the engine reads, and checks, as they are. */
const ENGINE_FIELDS = [
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "seed",
  "frequency_penalty",
  "presence_penalty",
  "repetition_penalty",
  "stop",
  "logit_bias",
] as const;

/** A request as the engine reads it: absent means the checkpoint's own default. */
type EngineRequest = {
  messages: EngineMessage[];
  tools?: Tool[];
  thinking?: boolean;
  max_completion_tokens?: unknown;
} & { [Name in (typeof ENGINE_FIELDS)[number]]?: unknown };

/** A checked request. */
export interface CheckedRequest {
  /** JSON, for the engine. */
  engine: string;
  stream: boolean;
  model: string | null;
}

const MAX_MESSAGES = 4096;

/** Fields of OpenAI's API that this engine does not have yet. */
const NOT_YET = new Set([
  "functions",
  "function_call",
  "response_format",
  "logprobs",
  "top_logprobs",
  "audio",
  "modalities",
  "prediction",
  "web_search_options",
  "grammar",
]);

/** Fields of OpenAI's API that are for a service with accounts, caches and parallel answers. They change nothing here. */
const WITHOUT_EFFECT = [
  "user",
  "store",
  "metadata",
  "service_tier",
  "prompt_cache_key",
  "safety_identifier",
  "parallel_tool_calls",
];

const KNOWN = new Set<string>([
  ...ENGINE_FIELDS,
  ...WITHOUT_EFFECT,
  "messages",
  "model",
  "stream",
  "stream_options",
  "max_completion_tokens",
  "max_tokens",
  "n",
  "tools",
  "tool_choice",
  "reasoning_effort",
]);

function invalid(field: string, message: string): TabLMError {
  return new TabLMError("invalid-request", `${field}: ${message}`);
}

/** A value for a message: short, and of any type. */
function show(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = typeof value;
  }
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** JSON of a field. What it cannot hold, or would turn into nothing, is refused. */
function toJson(field: string, value: unknown): string {
  const check = (_: string, part: unknown): unknown => {
    const right =
      typeof part === "number"
        ? Number.isFinite(part)
        : !["bigint", "function", "symbol"].includes(typeof part);
    if (!right) throw invalid(field, `found ${String(part)}, which JSON cannot hold`);
    return part;
  };
  try {
    return JSON.stringify(value, check);
  } catch (error) {
    throw error instanceof TabLMError ? error : invalid(field, (error as Error).message);
  }
}

function checkContent(field: string, content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content))
    throw invalid(field, `found ${show(content)}, expected a string or an array of text parts`);
  return content
    .map((part: unknown, index) => {
      if (!isRecord(part) || part["type"] !== "text" || typeof part["text"] !== "string") {
        throw invalid(
          `${field}[${index}]`,
          `found ${show(part)}, expected {"type":"text","text":…}`,
        );
      }
      return part["text"];
    })
    .join("");
}

function checkText(field: string, value: unknown): string {
  if (typeof value !== "string" || value === "")
    throw invalid(field, `found ${show(value)}, expected a text`);
  return value;
}

function checkToolCalls(field: string, value: unknown): ToolCall[] {
  if (!Array.isArray(value) || value.length === 0)
    throw invalid(field, `found ${show(value)}, expected at least one call`);
  return value.map((call: unknown, index) => {
    const at = `${field}[${index}]`;
    const called = isRecord(call) ? call["function"] : undefined;
    if (!isRecord(call) || call["type"] !== "function" || !isRecord(called)) {
      throw invalid(
        at,
        `found ${show(call)}, expected {"id":…,"type":"function","function":{"name":…,"arguments":…}}`,
      );
    }
    // The engine reads the arguments.
    if (typeof called["arguments"] !== "string")
      throw invalid(
        `${at}.function.arguments`,
        `found ${show(called["arguments"])}, expected JSON as text`,
      );
    const name = checkText(`${at}.function.name`, called["name"]);
    return {
      id: checkText(`${at}.id`, call["id"]),
      type: "function",
      function: { name, arguments: called["arguments"] },
    };
  });
}

/** The fields a message of each role may have. */
const MESSAGE_FIELDS: Record<EngineMessage["role"], readonly string[]> = {
  system: ["role", "content"],
  user: ["role", "content"],
  assistant: ["role", "content", "tool_calls", "reasoning_content"],
  tool: ["role", "content", "tool_call_id"],
};

function checkMessage(field: string, message: unknown): EngineMessage {
  if (!isRecord(message)) throw invalid(field, `found ${show(message)}, expected an object`);
  const role = message["role"] === "developer" ? "system" : message["role"];
  if (role !== "system" && role !== "user" && role !== "assistant" && role !== "tool") {
    throw invalid(
      `${field}.role`,
      `found ${show(message["role"])}, expected system, developer, user, assistant or tool`,
    );
  }
  const given = (key: string): boolean => message[key] !== null && message[key] !== undefined;
  const extra = Object.keys(message).find(
    (key) => given(key) && !MESSAGE_FIELDS[role].includes(key),
  );
  if (extra !== undefined)
    throw invalid(`${field}.${extra}`, `not supported yet in a message of the role ${role}`);
  const calls = given("tool_calls")
    ? checkToolCalls(`${field}.tool_calls`, message["tool_calls"])
    : undefined;
  const content =
    calls && !given("content") ? null : checkContent(`${field}.content`, message["content"]);
  return {
    role,
    content,
    ...(calls && { tool_calls: calls }),
    ...(given("reasoning_content") && {
      reasoning_content: checkText(`${field}.reasoning_content`, message["reasoning_content"]),
    }),
    ...(role === "tool" && {
      tool_call_id: checkText(`${field}.tool_call_id`, message["tool_call_id"]),
    }),
  };
}

/** The tools the model is told of; the engine checks what is in them. */
function checkTools(request: Record<string, unknown>): Tool[] | undefined {
  const [tools, choice] = [request["tools"] ?? [], request["tool_choice"] ?? "auto"];
  if (!Array.isArray(tools)) throw invalid("tools", `found ${show(tools)}, expected an array`);
  if (choice !== "auto" && choice !== "none") {
    throw invalid(
      "tool_choice",
      `found ${show(choice)}, expected "auto" or "none": a call cannot be demanded yet`,
    );
  }
  return choice === "none" || tools.length === 0 ? undefined : tools;
}

const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh"];

/** Whether to reason: models know on and off, and no degrees between. */
function checkThinking(effort: unknown): boolean {
  if (typeof effort === "string" && EFFORTS.includes(effort)) return effort !== "none";
  throw invalid("reasoning_effort", `found ${show(effort)}, expected one of ${EFFORTS.join(", ")}`);
}

function checkMessages(value: unknown): EngineMessage[] {
  if (!Array.isArray(value) || value.length === 0)
    throw invalid("messages", `found ${show(value)}, expected at least one message`);
  if (value.length > MAX_MESSAGES)
    throw invalid("messages", `found ${value.length}, expected at most ${MAX_MESSAGES}`);
  return value.map((message: unknown, index) => checkMessage(`messages[${index}]`, message));
}

/** Refuses what is unknown, and what is known but not there yet. */
function checkFieldNames(request: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(request)) {
    if (KNOWN.has(name) || value === undefined || value === null) continue;
    // Asking for nothing is no request.
    if (NOT_YET.has(name) && (value === false || (Array.isArray(value) && value.length === 0)))
      continue;
    throw invalid(name, NOT_YET.has(name) ? "not supported yet" : "unknown field");
  }
}

/** The most tokens of an answer, by either name. */
function checkMaxTokens(request: Record<string, unknown>): unknown {
  const [value, older] = [
    request["max_completion_tokens"] ?? undefined,
    request["max_tokens"] ?? undefined,
  ];
  if (value !== undefined && older !== undefined && value !== older) {
    throw invalid(
      "max_tokens",
      `found ${show(older)} beside max_completion_tokens ${show(value)}, expected one of them`,
    );
  }
  return value ?? older;
}

/** Checks a request and puts it into the engine's words. Throws `invalid-request` naming the field. */
export function checkRequest(request: unknown): CheckedRequest {
  if (!isRecord(request)) throw invalid("request", `found ${show(request)}, expected an object`);
  checkFieldNames(request);
  const given = (name: string): unknown => request[name] ?? undefined;
  const engine: EngineRequest = { messages: checkMessages(request["messages"]) };
  for (const field of ENGINE_FIELDS) {
    if (given(field) !== undefined) engine[field] = request[field];
  }
  const maxTokens = checkMaxTokens(request);
  if (maxTokens !== undefined) engine.max_completion_tokens = maxTokens;
  const tools = checkTools(request);
  if (tools) engine.tools = tools;
  if (given("reasoning_effort") !== undefined)
    engine.thinking = checkThinking(request["reasoning_effort"]);

  const n = given("n");
  if (n !== undefined && n !== 1) throw invalid("n", `found ${show(n)}, expected 1`);
  const model = given("model");
  if (model !== undefined && typeof model !== "string")
    throw invalid("model", `found ${show(model)}, expected a string`);
  const stream = given("stream") ?? false;
  if (typeof stream !== "boolean")
    throw invalid("stream", `found ${show(stream)}, expected true or false`);
  const streamOptions = given("stream_options");
  if (streamOptions !== undefined && !(stream && isRecord(streamOptions))) {
    throw invalid(
      "stream_options",
      `found ${show(streamOptions)}, expected an object beside stream: true`,
    );
  }
  const fields = Object.entries(engine).map(
    ([field, value]) => `${JSON.stringify(field)}:${toJson(field, value)}`,
  );
  return { engine: `{${fields.join()}}`, stream, model: (model as string | undefined) ?? null };
}
