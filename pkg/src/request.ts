/**
 * What a chat request may hold: everything is checked here, nothing is ignored in silence.
 * The result is the JSON the engine reads.
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

/** A request as the engine reads it: absent means the checkpoint's own default. */
export interface EngineRequest {
  messages: EngineMessage[];
  tools?: Tool[];
  thinking?: boolean;
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  max_completion_tokens?: number;
  stop?: string[];
  seed?: number;
  frequency_penalty?: number;
  presence_penalty?: number;
  repetition_penalty?: number;
  logit_bias?: Record<string, number>;
}

/** A checked request. */
export interface CheckedRequest {
  engine: EngineRequest;
  stream: boolean;
  model: string | null;
}

const MAX_STOPS = 16;
const MAX_STOP_LENGTH = 1024;
const MAX_BIASES = 1024;
const MAX_MESSAGES = 4096;

/** Fields of OpenAI's API that this engine does not have yet. */
const NOT_YET = new Set([
  "functions", "function_call", "response_format", "logprobs", "top_logprobs", "audio", "modalities", "prediction", "web_search_options", "grammar",
]);

interface NumberField {
  name: "temperature" | "top_p" | "top_k" | "min_p" | "seed" | "frequency_penalty" | "presence_penalty" | "repetition_penalty";
  min: number;
  max: number;
  integer?: boolean;
}

const NUMBER_FIELDS: readonly NumberField[] = [
  { name: "temperature", min: 0, max: 2 },
  { name: "top_p", min: 0, max: 1 },
  { name: "top_k", min: 0, max: 2 ** 31 - 1, integer: true },
  { name: "min_p", min: 0, max: 1 },
  { name: "seed", min: 0, max: Number.MAX_SAFE_INTEGER, integer: true },
  { name: "frequency_penalty", min: -2, max: 2 },
  { name: "presence_penalty", min: -2, max: 2 },
  { name: "repetition_penalty", min: 0.01, max: 10 },
];

const OTHER_FIELDS = new Set([
  "messages", "model", "stream", "stream_options", "max_completion_tokens", "max_tokens", "stop", "logit_bias", "n",
  "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort",
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

function checkNumber(field: string, value: unknown, { min, max, integer }: Omit<NumberField, "name">): number {
  const right = typeof value === "number" && value >= min && value <= max && (!integer || Number.isInteger(value));
  if (!right) throw invalid(field, `found ${show(value)}, expected ${integer ? "an integer" : "a number"} from ${min} to ${max}`);
  return value;
}

function checkContent(field: string, content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw invalid(field, `found ${show(content)}, expected a string or an array of text parts`);
  return content
    .map((part: unknown, index) => {
      if (!isRecord(part) || part["type"] !== "text" || typeof part["text"] !== "string") {
        throw invalid(`${field}[${index}]`, `found ${show(part)}, expected {"type":"text","text":…}`);
      }
      return part["text"];
    })
    .join("");
}

function checkText(field: string, value: unknown): string {
  if (typeof value !== "string" || value === "") throw invalid(field, `found ${show(value)}, expected a text`);
  return value;
}

function checkToolCalls(field: string, value: unknown): ToolCall[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid(field, `found ${show(value)}, expected at least one call`);
  return value.map((call: unknown, index) => {
    const at = `${field}[${index}]`;
    const called = isRecord(call) ? call["function"] : undefined;
    if (!isRecord(call) || call["type"] !== "function" || !isRecord(called)) {
      throw invalid(at, `found ${show(call)}, expected {"id":…,"type":"function","function":{"name":…,"arguments":…}}`);
    }
    // The engine reads the arguments.
    if (typeof called["arguments"] !== "string") throw invalid(`${at}.function.arguments`, `found ${show(called["arguments"])}, expected JSON as text`);
    const name = checkText(`${at}.function.name`, called["name"]);
    return { id: checkText(`${at}.id`, call["id"]), type: "function", function: { name, arguments: called["arguments"] } };
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
    throw invalid(`${field}.role`, `found ${show(message["role"])}, expected system, developer, user, assistant or tool`);
  }
  const given = (key: string): boolean => message[key] !== null && message[key] !== undefined;
  const extra = Object.keys(message).find((key) => given(key) && !MESSAGE_FIELDS[role].includes(key));
  if (extra !== undefined) throw invalid(`${field}.${extra}`, `not supported yet in a message of the role ${role}`);
  const calls = given("tool_calls") ? checkToolCalls(`${field}.tool_calls`, message["tool_calls"]) : undefined;
  const content = calls && !given("content") ? null : checkContent(`${field}.content`, message["content"]);
  return {
    role,
    content,
    ...(calls && { tool_calls: calls }),
    ...(given("reasoning_content") && { reasoning_content: checkText(`${field}.reasoning_content`, message["reasoning_content"]) }),
    ...(role === "tool" && { tool_call_id: checkText(`${field}.tool_call_id`, message["tool_call_id"]) }),
  };
}

/** The tools the model is told of; the engine checks what is in them. */
function checkTools(request: Record<string, unknown>): Tool[] | undefined {
  const [tools, choice] = [request["tools"] ?? [], request["tool_choice"] ?? "auto"];
  if (!Array.isArray(tools)) throw invalid("tools", `found ${show(tools)}, expected an array`);
  if (choice !== "auto" && choice !== "none") {
    throw invalid("tool_choice", `found ${show(choice)}, expected "auto" or "none": a call cannot be demanded yet`);
  }
  if ((request["parallel_tool_calls"] ?? true) !== true) {
    throw invalid("parallel_tool_calls", `found ${show(request["parallel_tool_calls"])}, expected true: calls cannot be limited yet`);
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
  if (!Array.isArray(value) || value.length === 0) throw invalid("messages", `found ${show(value)}, expected at least one message`);
  if (value.length > MAX_MESSAGES) throw invalid("messages", `found ${value.length}, expected at most ${MAX_MESSAGES}`);
  return value.map((message: unknown, index) => checkMessage(`messages[${index}]`, message));
}

function checkStop(value: unknown): string[] {
  const stops: unknown[] = Array.isArray(value) ? value : [value];
  if (stops.length > MAX_STOPS) throw invalid("stop", `found ${stops.length} strings, expected at most ${MAX_STOPS}`);
  return stops.map((stop, index) => {
    if (typeof stop !== "string" || stop.length === 0 || stop.length > MAX_STOP_LENGTH) {
      throw invalid(`stop[${index}]`, `found ${show(stop)}, expected a string of 1 to ${MAX_STOP_LENGTH} characters`);
    }
    return stop;
  });
}

function checkLogitBias(value: unknown): Record<string, number> {
  if (!isRecord(value)) throw invalid("logit_bias", `found ${show(value)}, expected an object from token id to number`);
  const entries = Object.entries(value);
  if (entries.length > MAX_BIASES) throw invalid("logit_bias", `found ${entries.length} entries, expected at most ${MAX_BIASES}`);
  for (const [token, bias] of entries) {
    if (!/^\d{1,9}$/.test(token)) throw invalid("logit_bias", `found key ${show(token)}, expected a token id`);
    checkNumber(`logit_bias.${token}`, bias, { min: -100, max: 100 });
  }
  return value as Record<string, number>;
}

/** Refuses what is unknown, and what is known but not there yet. */
function checkFieldNames(request: Record<string, unknown>): void {
  const known = new Set<string>([...OTHER_FIELDS, ...NUMBER_FIELDS.map((field) => field.name)]);
  for (const [name, value] of Object.entries(request)) {
    if (known.has(name) || value === undefined || value === null) continue;
    // Asking for nothing is no request.
    if (NOT_YET.has(name) && (value === false || (Array.isArray(value) && value.length === 0))) continue;
    throw invalid(name, NOT_YET.has(name) ? "not supported yet" : "unknown field");
  }
}

function checkMaxTokens(request: Record<string, unknown>): number | undefined {
  const rule = { min: 1, max: 2 ** 31 - 1, integer: true };
  const [value, older] = [request["max_completion_tokens"] ?? undefined, request["max_tokens"] ?? undefined];
  if (value !== undefined && older !== undefined && value !== older) {
    throw invalid("max_tokens", `found ${show(older)} beside max_completion_tokens ${show(value)}, expected one of them`);
  }
  if (value !== undefined) return checkNumber("max_completion_tokens", value, rule);
  return older === undefined ? undefined : checkNumber("max_tokens", older, rule);
}

/** Checks a request and puts it into the engine's words. Throws `invalid-request` naming the field. */
export function checkRequest(request: unknown): CheckedRequest {
  if (!isRecord(request)) throw invalid("request", `found ${show(request)}, expected an object`);
  checkFieldNames(request);
  const given = (name: string): unknown => request[name] ?? undefined;
  const engine: EngineRequest = { messages: checkMessages(request["messages"]) };
  for (const field of NUMBER_FIELDS) {
    const value = given(field.name);
    if (value !== undefined) engine[field.name] = checkNumber(field.name, value, field);
  }
  const maxTokens = checkMaxTokens(request);
  if (maxTokens !== undefined) engine.max_completion_tokens = maxTokens;
  const tools = checkTools(request);
  if (tools) engine.tools = tools;
  if (given("reasoning_effort") !== undefined) engine.thinking = checkThinking(request["reasoning_effort"]);
  if (given("stop") !== undefined) engine.stop = checkStop(request["stop"]);
  if (given("logit_bias") !== undefined) engine.logit_bias = checkLogitBias(request["logit_bias"]);

  const n = given("n");
  if (n !== undefined && n !== 1) throw invalid("n", `found ${show(n)}, expected 1`);
  const model = given("model");
  if (model !== undefined && typeof model !== "string") throw invalid("model", `found ${show(model)}, expected a string`);
  const stream = given("stream") ?? false;
  if (typeof stream !== "boolean") throw invalid("stream", `found ${show(stream)}, expected true or false`);
  const streamOptions = given("stream_options");
  if (streamOptions !== undefined && !(stream && isRecord(streamOptions))) {
    throw invalid("stream_options", `found ${show(streamOptions)}, expected an object beside stream: true`);
  }
  return { engine, stream, model: (model as string | undefined) ?? null };
}
