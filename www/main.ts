/** The chat page: loads the model, keeps the conversation and streams the answers. */

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
import { DEFAULT_MODEL } from "./catalog.js";
import { bytes, speed } from "./format.js";
import { hideLoading, showLoading, showProgress } from "./progress_card.js";
import { askAboutLink } from "./link_dialog.js";
import { connectModels, loadOptions } from "./models_dialog.js";
import { describeError } from "./error_messages.js";
import { connectProfile } from "./profile_dialog.js";
import { connectSettings } from "./settings_dialog.js";
import { agreeToModel, storeSettings, readAddress, readSettings } from "./settings.js";
import { modelName } from "./model_source.js";
import { runTool, TOOLS } from "./tools.js";
import { addUserMessage, AnswerView, clearMessages, scrollToEnd } from "./conversation.js";
import { element } from "./dom.js";

/** Error codes after which the model must be loaded again. */
const FATAL = ["device-lost", "internal", "disposed", "out-of-memory"];
/** Limit of rounds of tool calls before an answer. */
const MAX_TOOL_ROUNDS = 4;
/** Smaller models get a repetition penalty. */
const MIN_PARAMETERS_WITHOUT_PENALTY = 1e9;

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
/** Aborts the load in progress. */
let loadController = new AbortController();
let model: Promise<Model> | undefined;
let messages: ChatMessage[] = [];
let answering: AbortController | undefined;
/** Changes with each new chat, so that late results of an earlier one can be dropped. */
let conversationId = 0;
let retryAction: () => void = () => undefined;

function setState(state: State): void {
  document.body.dataset["state"] = state;
  send.hidden = state === "answering";
  stop.hidden = state !== "answering";
}

/** Sets the state after an answer, or without one. */
function setIdleState(): void {
  setState(!element("loading").hidden ? "loading" : model ? "ready" : "failed");
}

/** Shows an error; `action` runs when the visitor tries again. */
function showProblem(error: unknown, action: () => void): void {
  const { title, detail } = describeError(error);
  element("problem-title").textContent = title;
  element("problem-detail").textContent = detail;
  problem.dataset["code"] = error instanceof TabLMError ? error.code : "";
  problem.hidden = false;
  retryAction = action;
}

/** Shows the model's name, its device, and the reasons for its file and for the CPU. */
function showModel(loaded: Model): void {
  const { info } = loaded;
  const device = element("device");
  const onGpu = info.device.backend !== "cpu";
  element("model-name").textContent = info.name.replace(/\.gguf$/i, "");
  element("model-name").title =
    `${info.architecture}, ${(info.parameters / 1e6).toFixed(0)} million parameters, ` +
    `${bytes(info.memory.weightsBytes)} of weights`;
  const cpu = (info.device.threads ?? 1) > 1 ? `CPU · ${info.device.threads} threads` : "CPU";
  device.textContent = { webgpu: `WebGPU · ${info.device.adapter}`, cpu, hybrid: "WebGPU + CPU" }[
    info.device.backend
  ];
  device.title = `${info.device.adapter}; features: ${info.device.features.join(", ") || "none"}`;
  device.hidden = false;
  element("switches").hidden = info.thinking !== "optional";
  thinking.checked = readSettings().thinking;
  const notice = element("notice");
  notice.textContent = [info.choice?.reason, onGpu ? "" : cpuNotice(loaded)]
    .filter(Boolean)
    .join(" ");
  notice.hidden = notice.textContent === "";
}

/** Says why the CPU computes the answers. */
function cpuNotice({ info }: Model): string {
  const { predicted } = info.device;
  if (address.device === "cpu") return "The CPU computes the answers, as the address asks.";
  if (predicted?.cpuTokenMs === undefined)
    return "This browser offers no WebGPU adapter, so the CPU computes the answers.";
  const [cpu, gpu] = [predicted.cpuTokenMs, predicted.gpuTokenMs].map(Math.round);
  return (
    `The CPU computes the answers: in a short measurement it took ${cpu} ms per token, ` +
    `this browser's WebGPU adapter ${gpu} ms.`
  );
}

/** Starts loading the model and stores the promise in `model`. */
function loadModel(): Promise<Model> {
  problem.hidden = true;
  const name = modelName(source);
  showLoading(name);
  if (!answering) setState("loading");
  const controller = new AbortController();
  loadController = controller;
  const loading = TabLM.load(source, {
    ...loadOptions(),
    signal: controller.signal,
    onProgress: (progress) => controller.signal.aborted || showProgress(name, progress),
  });
  model = loading;
  loading.then(
    (loaded) => {
      if (controller.signal.aborted) return void loaded.dispose();
      hideLoading();
      showModel(loaded);
      if (!answering) setState("ready");
      // Asks the browser not to evict the stored model; workers may not ask.
      void navigator.storage?.persist?.().catch(() => false);
      cacheBuild(loaded.info.build);
    },
    (error: unknown) => {
      if (controller.signal.aborted) return;
      hideLoading();
      model = undefined;
      if (answering) return;
      setState("failed");
      showProblem(error, () => void loadModel().catch(() => undefined));
    },
  );
  return loading;
}

/** Replaces the current model by another and starts a new chat. */
function useModel(chosen: ModelSource): void {
  newChat();
  loadController.abort();
  void model?.then((old) => old.dispose()).catch(() => undefined);
  source = chosen;
  element("model-name").textContent = modelName(source);
  element("device").hidden = true;
  element("switches").hidden = true;
  // A visitor's own files are accessible only while the page is open.
  if (typeof source === "string") {
    storeSettings({ model: source === DEFAULT_MODEL ? null : source });
    agreeToModel(source);
  }
  void loadModel().catch(() => undefined);
}

function describeAnswer(usage: Usage, timings: Timings, atLimit: boolean): string {
  const parts = [`${usage.completion_tokens} tokens`];
  if (timings.decode_tokens_per_s > 0) parts.push(speed(timings.decode_tokens_per_s));
  parts.push(`first after ${(timings.first_token_ms / 1000).toFixed(1)} s`);
  if (atLimit) parts.push("cut off at the length limit");
  return parts.join(" · ");
}

/**
 * Resolves to the model, loading it if necessary; rejects with `aborted` if the signal aborts
 * first.
 */
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

/**
 * Streams an answer into its view. Resolves to the note below it and the tool calls it ends with.
 */
async function stream(
  view: AnswerView,
  signal: AbortSignal,
): Promise<{ note: string; calls: ToolCall[] }> {
  const loaded = await waitForModel(signal);
  const usedModel = model;
  try {
    return await streamFrom(loaded, view, signal);
  } finally {
    // The progress card is still visible if the model had to be loaded again for this answer.
    if (usedModel === model) hideLoading();
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
      loaded.info.parameters < MIN_PARAMETERS_WITHOUT_PENALTY && { repetition_penalty: 1.1 }),
    max_completion_tokens: maxTokens,
    ...(address.seed !== null && { seed: address.seed }),
  };
  const speedLine = element("speed");
  let firstAt = 0;
  let pieceCount = 0;
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
    if (delta.reasoning_content) view.addReasoning(delta.reasoning_content);
    if (delta.content) view.add(delta.content);
    if (delta.content || delta.reasoning_content) {
      if (pieceCount === 0) hideLoading();
      pieceCount += 1;
      firstAt ||= performance.now();
      const seconds = (performance.now() - firstAt) / 1000;
      if (pieceCount > 2) speedLine.textContent = speed((pieceCount - 1) / seconds);
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

/** Adds an answer to the conversation, runs its tool calls, and shows both. */
function finishAnswer(view: AnswerView, note: string, calls: ToolCall[] = []): void {
  if (view.text || calls.length > 0) {
    messages.push({
      role: "assistant",
      content: view.text,
      ...(view.reasoning && { reasoning_content: view.reasoning }),
      ...(calls.length > 0 && { tool_calls: calls }),
    });
  }
  for (const call of calls) {
    const content = runTool(call);
    view.addToolCall(call.function.name, call.function.arguments, content);
    messages.push({ role: "tool", tool_call_id: call.id, content });
  }
  const id = conversationId;
  void view.finish(note).then(() => {
    if (id === conversationId) element("announcer").textContent = view.plainText;
  });
}

/** Answers the last message; after tool calls, the model answers again with their results. */
async function answer(rounds = MAX_TOOL_ROUNDS): Promise<void> {
  const id = conversationId;
  const controller = new AbortController();
  answering = controller;
  problem.hidden = true;
  setState("answering");
  const view = new AnswerView();
  try {
    const { note, calls } = await stream(view, controller.signal);
    if (id !== conversationId) return;
    finishAnswer(view, note, calls);
    if (calls.length > 0 && rounds > 0) return await answer(rounds - 1);
  } catch (error) {
    if (id !== conversationId) return;
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
  conversationId += 1;
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

/** Grows the message field with its text; the stylesheet limits its height. */
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
  thinking.addEventListener("change", () => storeSettings({ thinking: thinking.checked }));
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

/** Asks the service workers of this version and the next to cache the engine's build in use. */
function cacheBuild(build: string): void {
  void navigator.serviceWorker?.ready.then(({ active, waiting, installing }) => {
    for (const worker of [active, waiting, installing]) worker?.postMessage({ build });
  });
}

/** Registers the service worker, which caches the page for offline visits. */
function registerServiceWorker(): void {
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker
    .register("sw.js")
    .catch((error: unknown) => console.warn("the page will not work offline:", error));
}

connect();
connectSettings();
connectProfile(() => model);
connectModels(useModel);
loadModel().catch(() => undefined);
