/** The chat page: loads the model, keeps the conversation, shows what comes. */

import {
  TabLM,
  TabLMError,
  type ChatMessage,
  type Model,
  type ModelSource,
  type Timings,
  type ToolCall,
  type Usage,
} from "tablm";
import { DEFAULT_MODEL } from "./catalogue.js";
import { bytes, speed } from "./format.js";
import { hideLoading, showLoading, showProgress } from "./loading.js";
import { askAboutLink } from "./link_dialog.js";
import { connectModels, loadOptions } from "./models_dialog.js";
import { describeProblem } from "./problems.js";
import { connectProfile } from "./profile_dialog.js";
import { connectSettings } from "./settings_dialog.js";
import { agreeToModel, keepSettings, readAddress, readSettings } from "./settings.js";
import { nameOf } from "./source.js";
import { runTool, TOOLS } from "./tools.js";
import { addUserMessage, AnswerView, clearMessages, element, scrollToEnd } from "./view.js";

/** After these the engine is of no more use and the model is loaded anew. */
const FATAL = ["device-lost", "internal", "disposed", "out-of-memory"];
/** How often a model may call tools before it must answer. */
const MAX_CALL_ROUNDS = 4;
/** Models of fewer weights are kept from repeating themselves. */
const SMALL_PARAMETERS = 1e9;

type State = "loading" | "ready" | "answering" | "failed";

registerServiceWorker();
await askAboutLink();

const address = readAddress();

const form = element<HTMLFormElement>("composer");
const prompt = element<HTMLTextAreaElement>("prompt");
const send = element<HTMLButtonElement>("send");
const stop = element<HTMLButtonElement>("stop");
const problem = element("problem");
const retry = element<HTMLButtonElement>("retry");
const thinking = element<HTMLInputElement>("thinking");

let source: ModelSource = address.model ?? readSettings().model ?? DEFAULT_MODEL;
/** Ends the load that is under way. */
let loadingEnd = new AbortController();
let model: Promise<Model> | undefined;
let messages: ChatMessage[] = [];
let answering: AbortController | undefined;
/** Counts conversations, so that what comes late for an old one is dropped. */
let conversation = 0;
let retryAction: () => void = () => undefined;

function setState(state: State): void {
  document.body.dataset["state"] = state;
  send.hidden = state === "answering";
  stop.hidden = state !== "answering";
}

/** The state when nothing is being answered. */
function setIdleState(): void {
  setState(!element("loading").hidden ? "loading" : model ? "ready" : "failed");
}

function showProblem(error: unknown, action: () => void): void {
  const { title, detail } = describeProblem(error);
  element("problem-title").textContent = title;
  element("problem-detail").textContent = detail;
  problem.dataset["code"] = error instanceof TabLMError ? error.code : "";
  problem.hidden = false;
  retryAction = action;
}

function showModel(loaded: Model): void {
  const { info } = loaded;
  const device = element("device");
  const onGpu = info.device.backend !== "cpu";
  element("model-name").textContent = info.name.replace(/\.gguf$/i, "");
  element("model-name").title =
    `${info.architecture}, ${(info.parameters / 1e6).toFixed(0)} million parameters, ${bytes(info.memory.weights_bytes)} of weights`;
  const cpu = (info.device.threads ?? 1) > 1 ? `CPU · ${info.device.threads} threads` : "CPU";
  device.textContent = { gpu: `WebGPU · ${info.device.adapter}`, cpu, shared: "WebGPU + CPU" }[
    info.device.backend
  ];
  device.title = `${info.device.adapter}; features: ${info.device.features.join(", ") || "none"}`;
  device.hidden = false;
  element("switches").hidden = info.thinking !== "optional";
  thinking.checked = readSettings().thinking;
  const notice = element("notice");
  notice.hidden = onGpu;
  if (onGpu) return;
  const { predicted } = info.device;
  if (address.device === "cpu")
    notice.textContent = "The CPU computes the answers, as the address asks.";
  else if (predicted?.cpu_token_ms !== undefined) {
    const [cpu, gpu] = [predicted.cpu_token_ms, predicted.gpu_token_ms].map(Math.round);
    notice.textContent = `The CPU computes the answers: by a short measurement it takes ${cpu} ms for a token, this browser's WebGPU adapter ${gpu} ms.`;
  } else
    notice.textContent = "This browser offers no WebGPU adapter, so the CPU computes the answers.";
}

/** Loads the model; the same promise for everybody who waits. */
function loadModel(): Promise<Model> {
  problem.hidden = true;
  const name = nameOf(source);
  showLoading(name);
  if (!answering) setState("loading");
  const end = new AbortController();
  loadingEnd = end;
  const loading = TabLM.load(source, {
    ...loadOptions(),
    signal: end.signal,
    onProgress: (progress) => end.signal.aborted || showProgress(name, progress),
  });
  model = loading;
  loading.then(
    (loaded) => {
      if (end.signal.aborted) return void loaded.dispose();
      hideLoading();
      showModel(loaded);
      if (!answering) setState("ready");
      // So that the browser does not clear the model away; pages alone may ask.
      void navigator.storage?.persist?.().catch(() => false);
      keepOffline(loaded.info.build);
    },
    (error: unknown) => {
      if (end.signal.aborted) return;
      hideLoading();
      model = undefined;
      if (answering) return;
      setState("failed");
      showProblem(error, () => void loadModel().catch(() => undefined));
    },
  );
  return loading;
}

/** Puts another model in the place of the one there is. */
function useModel(chosen: ModelSource): void {
  newChat();
  loadingEnd.abort();
  void model?.then((old) => old.dispose()).catch(() => undefined);
  source = chosen;
  element("model-name").textContent = nameOf(source);
  element("device").hidden = true;
  element("switches").hidden = true;
  // Files are in hand only as long as the page is open.
  if (typeof source === "string") {
    keepSettings({ model: source === DEFAULT_MODEL ? null : source });
    agreeToModel(source);
  }
  void loadModel().catch(() => undefined);
}

function describeAnswer(usage: Usage, timings: Timings, atLimit: boolean): string {
  const parts = [`${usage.completion_tokens} tokens`];
  if (timings.decode_tokens_per_s > 0) parts.push(speed(timings.decode_tokens_per_s));
  parts.push(`first after ${(timings.first_token_ms / 1000).toFixed(1)} s`);
  if (atLimit) parts.push("cut off at the longest answer set");
  return parts.join(" · ");
}

/** The model, or `aborted` when the visitor no longer wants to wait for it. */
function waitForModel(signal: AbortSignal): Promise<Model> {
  return new Promise((resolve, reject) => {
    signal.addEventListener(
      "abort",
      () => reject(new TabLMError("aborted", "aborted by the caller")),
      { once: true },
    );
    (model ?? loadModel()).then(resolve, reject);
  });
}

/** Streams one answer into its view. Answers the line to put below it, and what it calls. */
async function stream(
  view: AnswerView,
  signal: AbortSignal,
): Promise<{ note: string; calls: ToolCall[] }> {
  const loaded = await waitForModel(signal);
  const mine = model;
  try {
    return await streamFrom(loaded, view, signal);
  } finally {
    // It is shown where the model had to be loaded anew, into another worker.
    if (mine === model) hideLoading();
  }
}

async function streamFrom(
  loaded: Model,
  view: AnswerView,
  signal: AbortSignal,
): Promise<{ note: string; calls: ToolCall[] }> {
  const { system, temperature, maxTokens } = readSettings();
  const history: ChatMessage[] = system.trim()
    ? [{ role: "system", content: system.trim() }, ...messages]
    : messages;
  const request = {
    messages: history,
    stream: true as const,
    ...(loaded.info.thinking === "optional" && {
      reasoning_effort: thinking.checked ? ("medium" as const) : ("none" as const),
    }),
    ...(loaded.info.tools && { tools: TOOLS }),
    temperature,
    ...(temperature > 0 &&
      loaded.info.parameters < SMALL_PARAMETERS && { repetition_penalty: 1.1 }),
    max_completion_tokens: maxTokens,
    ...(address.seed !== null && { seed: address.seed }),
  };
  const speedLine = element("speed");
  let firstAt = 0;
  let pieces = 0;
  const calls: ToolCall[] = [];
  for await (const chunk of await loaded.chat.completions.create(request, { signal })) {
    const { delta, finish_reason } = chunk.choices[0];
    calls.push(
      ...(delta.tool_calls ?? []).map(({ id, type, function: called }) => ({
        id,
        type,
        function: called,
      })),
    );
    if (delta.reasoning_content) view.think(delta.reasoning_content);
    if (delta.content) view.add(delta.content);
    if (delta.content || delta.reasoning_content) {
      if (pieces === 0) hideLoading();
      pieces += 1;
      firstAt ||= performance.now();
      const seconds = (performance.now() - firstAt) / 1000;
      if (pieces > 2) speedLine.textContent = speed((pieces - 1) / seconds);
    }
    if (chunk.usage && chunk.timings) {
      if (chunk.timings.decode_tokens_per_s > 0)
        speedLine.textContent = speed(chunk.timings.decode_tokens_per_s);
      return {
        note: describeAnswer(chunk.usage, chunk.timings, finish_reason === "length"),
        calls,
      };
    }
  }
  return { note: "", calls };
}

/** The answer becomes a part of the conversation; nothing of it, however strange, keeps it from being shown. */
function finishAnswer(view: AnswerView, note: string, calls: ToolCall[] = []): void {
  if (view.text || calls.length > 0) {
    messages.push({
      role: "assistant",
      content: view.text,
      ...(view.thoughts && { reasoning_content: view.thoughts }),
      ...(calls.length > 0 && { tool_calls: calls }),
    });
  }
  for (const call of calls) {
    const content = runTool(call);
    view.addCall(call.function.name, call.function.arguments, content);
    messages.push({ role: "tool", tool_call_id: call.id, content });
  }
  const mine = conversation;
  void view.finish(note).then(() => {
    if (mine === conversation) element("announcer").textContent = view.plainText;
  });
}

/** Answers the last message; a model that calls tools goes on with what they gave. */
async function answer(rounds = MAX_CALL_ROUNDS): Promise<void> {
  const mine = conversation;
  const controller = new AbortController();
  answering = controller;
  problem.hidden = true;
  setState("answering");
  const view = new AnswerView();
  try {
    const { note, calls } = await stream(view, controller.signal);
    if (mine !== conversation) return;
    finishAnswer(view, note, calls);
    if (calls.length > 0 && rounds > 0) return await answer(rounds - 1);
  } catch (error) {
    if (mine !== conversation) return;
    if (error instanceof TabLMError && error.code === "aborted")
      return finishAnswer(view, "stopped");
    if (error instanceof TabLMError && FATAL.includes(error.code)) {
      void model?.then((dead) => dead.dispose()).catch(() => undefined);
      model = undefined;
    }
    view.remove();
    showProblem(error, () => void answer());
  } finally {
    if (answering === controller) {
      answering = undefined;
      setIdleState();
    }
  }
}

function submit(text: string): void {
  const trimmed = text.trim();
  if (!trimmed || answering) return;
  element("welcome").hidden = true;
  prompt.value = "";
  fitPrompt();
  // A message whose answer failed is left out, or the roles would no longer alternate.
  if (messages.at(-1)?.role === "user") messages.pop();
  messages.push({ role: "user", content: trimmed });
  addUserMessage(trimmed);
  void answer();
}

function newChat(): void {
  conversation += 1;
  answering?.abort();
  answering = undefined;
  messages = [];
  clearMessages();
  if (model) problem.hidden = true;
  element("welcome").hidden = false;
  element("speed").textContent = "";
  element("announcer").textContent = "";
  setIdleState();
  prompt.focus();
}

/** The field grows with its text; the style sheet sets the limit. */
function fitPrompt(): void {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

function connect(): void {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(prompt.value);
  });
  prompt.addEventListener("input", fitPrompt);
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit(prompt.value);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && answering && !document.querySelector("dialog[open]"))
      answering.abort();
  });
  stop.addEventListener("click", () => {
    answering?.abort();
    prompt.focus();
  });
  thinking.addEventListener("change", () => keepSettings({ thinking: thinking.checked }));
  retry.addEventListener("click", () => {
    problem.hidden = true;
    retryAction();
  });
  element("new-chat").addEventListener("click", newChat);
  for (const idea of element("ideas").querySelectorAll("button")) {
    idea.addEventListener("click", () => submit(idea.textContent ?? ""));
  }
  window.visualViewport?.addEventListener("resize", () => {
    if (document.activeElement === prompt) scrollToEnd();
  });
}

/** Keeps the engine's build that runs here for visits without a network, of this version and of the next. */
function keepOffline(build: string): void {
  void navigator.serviceWorker?.ready.then(({ active, waiting, installing }) => {
    for (const worker of [active, waiting, installing]) worker?.postMessage({ build });
  });
}

/** Keeps the page itself for visits without a network. */
function registerServiceWorker(): void {
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker
    .register("sw.js")
    .catch((error: unknown) => console.warn("no offline use:", error));
}

connect();
connectSettings();
connectProfile(() => model);
connectModels(useModel);
loadModel().catch(() => undefined);
