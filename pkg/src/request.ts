/**
 * Conversion of chat requests into the engine's form. Field names and the shape of messages are
 * checked here; the engine checks values and their ranges. Unknown fields are errors; only fields
 * that concern OpenAI's service are ignored.
 */

import { TabLMError } from "./errors.js";
import { requestFields, type ToolCall } from "./generated.js";
import type { ReasoningEffort, Tool } from "./openai_types.js";

/** A message as chat templates read it. */
export interface EngineMessage {
  role: "system" | "user" | "assistant" | "tool";
  content: string | null;
  tool_calls?: ToolCall[];
  reasoning_content?: string;
  tool_call_id?: string;
}

/** A request as the engine reads it; absent fields have the engine's defaults. */
type EngineRequest = {
  messages: EngineMessage[];
  tools?: Tool[];
  thinking?: boolean;
} & { [Name in (typeof requestFields)[number]]?: unknown };

/** A checked request. */
export interface CheckedRequest {
  /** JSON for the engine. */
  engine: string;
  stream: boolean;
  model: string | null;
}

/** Characters of a value that an error message quotes. */
const MAX_QUOTED_CHARS = 60;

/** Fields of OpenAI's API that are not supported yet. */
const UNSUPPORTED = new Set([
  "functions",
  "function_call",
  "response_format",
  "audio",
  "modalities",
  "prediction",
  "web_search_options",
  "grammar",
]);

/** Fields of OpenAI's API that concern its service; accepted without effect. */
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
  ...requestFields,
  ...WITHOUT_EFFECT,
  "messages",
  "model",
  "stream",
  "stream_options",
  "max_tokens",
  "n",
  "tools",
  "tool_choice",
  "reasoning_effort",
]);

function invalid(field: string, message: string): TabLMError {
  return new TabLMError("invalid-request", `${field}: ${message}`);
}

/** A value of any type as a short text for an error message. */
function quote(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = typeof value;
  }
  return text.length > MAX_QUOTED_CHARS ? `${text.slice(0, MAX_QUOTED_CHARS - 3)}…` : text;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A field as JSON. Throws where JSON has no such value or would drop it. */
function toJson(field: string, value: unknown): string {
  const check = (_: string, part: unknown): unknown => {
    const isJson =
      typeof part === "number"
        ? Number.isFinite(part)
        : !["bigint", "function", "symbol"].includes(typeof part);
    if (!isJson) throw invalid(field, `found ${String(part)}, expected a value that JSON can hold`);
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
    throw invalid(field, `found ${quote(content)}, expected a string or an array of text parts`);
  return content
    .map((part: unknown, index) => {
      if (!isRecord(part) || part["type"] !== "text" || typeof part["text"] !== "string") {
        throw invalid(
          `${field}[${index}]`,
          `found ${quote(part)}, expected {"type":"text","text":…}`,
        );
      }
      return part["text"];
    })
    .join("");
}

function checkText(field: string, value: unknown): string {
  if (typeof value !== "string" || value === "")
    throw invalid(field, `found ${quote(value)}, expected a string that is not empty`);
  return value;
}

function checkToolCalls(field: string, value: unknown): ToolCall[] {
  if (!Array.isArray(value) || value.length === 0)
    throw invalid(field, `found ${quote(value)}, expected an array of at least one call`);
  return value.map((call: unknown, index) => {
    const at = `${field}[${index}]`;
    const called = isRecord(call) ? call["function"] : undefined;
    if (!isRecord(call) || call["type"] !== "function" || !isRecord(called)) {
      throw invalid(
        at,
        `found ${quote(call)}, ` +
          'expected {"id":…,"type":"function","function":{"name":…,"arguments":…}}',
      );
    }
    if (typeof called["arguments"] !== "string")
      throw invalid(
        `${at}.function.arguments`,
        `found ${quote(called["arguments"])}, expected JSON as a string`,
      );
    const name = checkText(`${at}.function.name`, called["name"]);
    return {
      id: checkText(`${at}.id`, call["id"]),
      type: "function",
      function: { name, arguments: called["arguments"] },
    };
  });
}

/** The fields that a message of each role may have. */
const MESSAGE_FIELDS: Record<EngineMessage["role"], readonly string[]> = {
  system: ["role", "content"],
  user: ["role", "content"],
  assistant: ["role", "content", "tool_calls", "reasoning_content"],
  tool: ["role", "content", "tool_call_id"],
};

function checkMessage(field: string, message: unknown): EngineMessage {
  if (!isRecord(message)) throw invalid(field, `found ${quote(message)}, expected an object`);
  const role = message["role"] === "developer" ? "system" : message["role"];
  if (role !== "system" && role !== "user" && role !== "assistant" && role !== "tool") {
    throw invalid(
      `${field}.role`,
      `found ${quote(message["role"])}, expected system, developer, user, assistant or tool`,
    );
  }
  const has = (key: string): boolean => (message[key] ?? undefined) !== undefined;
  const extra = Object.keys(message).find((key) => has(key) && !MESSAGE_FIELDS[role].includes(key));
  if (extra !== undefined)
    throw invalid(
      `${field}.${extra}`,
      `found a field that messages of the role ${role} do not have, expected none`,
    );
  const calls = has("tool_calls")
    ? checkToolCalls(`${field}.tool_calls`, message["tool_calls"])
    : undefined;
  const content =
    calls && !has("content") ? null : checkContent(`${field}.content`, message["content"]);
  return {
    role,
    content,
    ...(calls && { tool_calls: calls }),
    ...(has("reasoning_content") && {
      reasoning_content: checkText(`${field}.reasoning_content`, message["reasoning_content"]),
    }),
    ...(role === "tool" && {
      tool_call_id: checkText(`${field}.tool_call_id`, message["tool_call_id"]),
    }),
  };
}

/** The tools that the model sees; the engine checks each. */
function checkTools(request: Record<string, unknown>): Tool[] | undefined {
  const [tools, choice] = [request["tools"] ?? [], request["tool_choice"] ?? "auto"];
  if (!Array.isArray(tools)) throw invalid("tools", `found ${quote(tools)}, expected an array`);
  if (choice !== "auto" && choice !== "none") {
    throw invalid(
      "tool_choice",
      `found ${quote(choice)}, expected "auto" or "none" (a call cannot be forced)`,
    );
  }
  return choice === "none" || tools.length === 0 ? undefined : tools;
}

const EFFORTS: readonly ReasoningEffort[] = ["none", "minimal", "low", "medium", "high", "xhigh"];

/** True if the model should reason; models have no degrees of effort. */
function checkThinking(effort: unknown): boolean {
  if ((EFFORTS as readonly unknown[]).includes(effort)) return effort !== "none";
  throw invalid(
    "reasoning_effort",
    `found ${quote(effort)}, expected one of ${EFFORTS.join(", ")}`,
  );
}

function checkMessages(value: unknown): EngineMessage[] {
  if (!Array.isArray(value) || value.length === 0)
    throw invalid("messages", `found ${quote(value)}, expected an array of at least one message`);
  return value.map((message: unknown, index) => checkMessage(`messages[${index}]`, message));
}

/** Throws for unknown and for unsupported fields. */
function checkFieldNames(request: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(request)) {
    if (KNOWN.has(name) || value === undefined || value === null) continue;
    // `response_format: false` and the like ask for nothing.
    if (UNSUPPORTED.has(name) && (value === false || (Array.isArray(value) && value.length === 0)))
      continue;
    throw invalid(
      name,
      `found ${UNSUPPORTED.has(name) ? "a field that is not supported yet" : "an unknown field"}`,
    );
  }
}

/** Most tokens of the answer, by either name of the field. */
function checkMaxTokens(request: Record<string, unknown>): unknown {
  const [value, older] = [
    request["max_completion_tokens"] ?? undefined,
    request["max_tokens"] ?? undefined,
  ];
  if (value !== undefined && older !== undefined && value !== older) {
    throw invalid(
      "max_tokens",
      `found ${quote(older)} beside max_completion_tokens ${quote(value)}, expected one of them`,
    );
  }
  return value ?? older;
}

/** A checked request for embeddings. */
export interface CheckedEmbeddingRequest {
  /** JSON for the engine. */
  engine: string;
  model: string | null;
  isBase64: boolean;
}

/** Converts a request for embeddings into the engine's form; the engine checks all but `model`. */
export function checkEmbeddingRequest(request: unknown): CheckedEmbeddingRequest {
  if (!isRecord(request)) throw invalid("request", `found ${quote(request)}, expected an object`);
  const { model, user: _, ...engine } = request;
  return {
    engine: toJson("request", engine),
    model: checkModel(model),
    isBase64: engine["encoding_format"] === "base64",
  };
}

function checkModel(model: unknown): string | null {
  if (model === undefined || model === null || typeof model === "string") return model ?? null;
  throw invalid("model", `found ${quote(model)}, expected a string`);
}

/**
 * Checks a request and converts it into the engine's form. Throws `invalid-request`, naming the
 * field, the value found and the values expected.
 */
export function checkRequest(request: unknown): CheckedRequest {
  if (!isRecord(request)) throw invalid("request", `found ${quote(request)}, expected an object`);
  checkFieldNames(request);
  const given = (name: string): unknown => request[name] ?? undefined;
  const engine: EngineRequest = { messages: checkMessages(request["messages"]) };
  for (const field of requestFields) {
    if (given(field) !== undefined) engine[field] = request[field];
  }
  const maxTokens = checkMaxTokens(request);
  if (maxTokens !== undefined) engine.max_completion_tokens = maxTokens;
  const tools = checkTools(request);
  if (tools) engine.tools = tools;
  if (given("reasoning_effort") !== undefined)
    engine.thinking = checkThinking(request["reasoning_effort"]);

  const n = given("n");
  if (n !== undefined && n !== 1) throw invalid("n", `found ${quote(n)}, expected 1`);
  const model = checkModel(request["model"]);
  const stream = given("stream") ?? false;
  if (typeof stream !== "boolean")
    throw invalid("stream", `found ${quote(stream)}, expected true or false`);
  const streamOptions = given("stream_options");
  if (streamOptions !== undefined && !(stream && isRecord(streamOptions))) {
    throw invalid(
      "stream_options",
      `found ${quote(streamOptions)}, expected an object beside stream: true`,
    );
  }
  const fields = Object.entries(engine).map(
    ([field, value]) => `${JSON.stringify(field)}:${toJson(field, value)}`,
  );
  return { engine: `{${fields.join()}}`, stream, model };
}
