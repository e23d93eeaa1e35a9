/** The worker: owns the wasm engine of one model and the model store; answers calls from the page. */

import { adapterHints } from "./adapter.js";
import { joinEngine, startEngine, type StartedEngine, type WasmUrls } from "./builds.js";
import { hasCode, TabLMError, throwIfAborted, toPlainError, toTabLMError } from "./errors.js";
import { Meter } from "./meter.js";
import {
  deleteModel,
  listModels,
  openModel,
  peekModel,
  verifyModel,
  type OpenedModel,
} from "./model_store.js";
import { modelsFolder, storageEstimate } from "./opfs.js";
import { compileAhead, compileAtMost, forgetPipelines, noteDevices } from "./pipelines.js";
import type {
  Call,
  EngineDelta,
  EngineOptions,
  FromWorker,
  GenerationEnd,
  RunningEngine,
  ToWorker,
} from "./protocol.js";
import type { SourceDescription } from "./source.js";
import type {
  Capabilities,
  Estimate,
  ModelInfo,
  Profile,
  Progress,
  ProgressPhase,
} from "./types.js";
import { keepVerdicts, readVerdicts } from "./verdicts.js";
import type { Engine, Host, Prepared, SourceFile } from "./wasm/simd/tablm.js";

/** What this file needs of a dedicated worker's global scope. */
interface WorkerScope {
  postMessage(message: FromWorker): void;
  close(): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToWorker>) => void): void;
}

/** What the engine's JSON answers hold. */
type EngineEvent =
  ({ type: "token" } & EngineDelta) | ({ type: "done" } & Omit<GenerationEnd, "info">);

interface EngineProgress {
  phase: ProgressPhase;
  loadedBytes?: number;
  totalBytes?: number | null;
  file?: string;
}

noteDevices();

/** Processors, two of which an upload keeps busy: the engine's, and that of the browser's GPU process. */
const processors = navigator.hardwareConcurrency || 2;

const scope = globalThis as unknown as WorkerScope;
const running = new Map<number, AbortController>();

let wasmUrls: WasmUrls | null = null;
let wasmModule: Promise<StartedEngine> | undefined;
/** Threads that the CPU may have. */
let threads = defaultThreads();
let noteThreadsStarted = (): void => undefined;
let engine: Engine | undefined;
let modelName = "";
/** Set once the wasm trapped: its memory cannot be trusted any more. */
let trapped: string | undefined;

/** Two processors are often one core; a few are needed by others, and a phone's are not all alike. */
function defaultThreads(): number {
  return processors <= 4 ? processors : Math.min(8, Math.max(4, processors / 2));
}

/** Fetches and starts the wasm, once. */
function wasm(): Promise<StartedEngine> {
  wasmModule ??= startEngine(wasmUrls, threads > 1).catch((error: unknown) => {
    wasmModule = undefined;
    const code = toTabLMError(error).code === "out-of-memory" ? "out-of-memory" : "network";
    throw new TabLMError(code, `the wasm module could not be loaded: ${(error as Error).message}`, {
      cause: error,
    });
  });
  return wasmModule;
}

/** A macrotask, so that messages such as an abort get their turn. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/**
 * Runs something of the engine's; a trap is remembered. That is whatever is no error of ours: besides wasm's own
 * also an exhausted stack, which is a RangeError or, in Firefox, an InternalError, and leaves locks taken.
 */
async function guarded<T>(job: () => T | Promise<T>): Promise<T> {
  if (trapped !== undefined)
    throw new TabLMError(
      "internal",
      `the engine stopped earlier (${trapped}); load the model again`,
    );
  try {
    return await job();
  } catch (error) {
    // First without a call, for which there may be no stack.
    const before = trapped;
    trapped = "its stack is exhausted";
    trapped = hasCode(error) ? before : String((error as Error | null)?.message ?? error);
    throw error;
  }
}

async function currentInfo(): Promise<ModelInfo> {
  const { build, memory } = await wasm();
  if (!engine) throw new TabLMError("disposed", "no model is loaded");
  const info = JSON.parse(engine.info()) as ModelInfo;
  return {
    ...info,
    name: modelName,
    build,
    memory: { ...info.memory, wasm_heap_bytes: memory.buffer.byteLength },
  };
}

/** What the engine has others do. */
async function host(): Promise<Host> {
  const { build } = await wasm();
  const startThreads = (module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<void> =>
    new Promise((resolve) => {
      noteThreadsStarted = resolve;
      scope.postMessage({ type: "startThreads", count: threads - 1, module, memory });
    });
  return { compileAhead, threads: build === "threads" ? threads : 1, startThreads };
}

/** Makes this worker a thread of another's engine, for as long as that needs it. */
async function lend({ module, memory }: RunningEngine): Promise<void> {
  const { lendThread } = await joinEngine(module, memory);
  scope.postMessage({ type: "lent" });
  lendThread();
  scope.close();
}

/** The engine's options as JSON: the caller's, and what only a browser can tell. */
async function optionsJson({ threads, ...options }: EngineOptions): Promise<string> {
  if (options.device === "cpu") return JSON.stringify(options);
  const { build } = await wasm();
  const [adapter, verdicts] = await Promise.all([adapterHints(build), readVerdicts()]);
  return JSON.stringify({ ...options, adapter, verdicts });
}

/**
 * What a load does beside a download, begun by `begin` with files of which headers have arrived. It is a
 * gain and no more: what fails here, the load does anew and reports.
 */
class Preparation {
  #prepared: Promise<Prepared | undefined> = Promise.resolve(undefined);

  constructor(private options: Promise<string>) {}

  begin(files: SourceFile[]): void {
    compileAtMost(Math.max(1, processors - 1));
    this.#prepared = (async () => {
      const [{ boundary }, options] = await Promise.all([wasm(), this.options]);
      const others = await host();
      return guarded(() => boundary.Prepared.of(files, options, others));
    })().catch(() => undefined);
  }

  /** What came of it, for a load: it is the load's from now on. */
  take(): Promise<Prepared | undefined> {
    const prepared = this.#prepared;
    this.#prepared = Promise.resolve(undefined);
    return prepared;
  }
}

async function load(
  source: SourceDescription,
  options: EngineOptions,
  signal: AbortSignal,
  meter: Meter,
): Promise<ModelInfo> {
  if (engine) throw new TabLMError("internal", "this worker already holds a model");
  // The GPU has no use for them.
  threads = options.threads ?? (options.device === "webgpu" ? 1 : threads);
  const json = optionsJson(options);
  const preparation = new Preparation(json);
  try {
    // The module arrives while the model does; a failure is met below.
    json.catch(() => undefined);
    const model = await openModel(source, signal, meter, (files) => preparation.begin(files));
    return await loadOpened(model, source.name, json, preparation, signal, meter);
  } finally {
    void preparation.take().then((prepared) => prepared?.free());
    forgetPipelines();
  }
}

async function loadOpened(
  model: OpenedModel,
  name: string,
  json: Promise<string>,
  preparation: Preparation,
  signal: AbortSignal,
  meter: Meter,
): Promise<ModelInfo> {
  try {
    const [{ boundary }, options] = await Promise.all([wasm(), json]);
    throwIfAborted(signal);
    const files = model.files.map((file) => ({
      ...file,
      read(offset: number, length: number) {
        throwIfAborted(signal);
        return file.read(offset, length);
      },
    }));
    const onProgress = (json: string): void => {
      const {
        phase,
        loadedBytes = 0,
        totalBytes = null,
        file = "",
      } = JSON.parse(json) as EngineProgress;
      meter.report(phase, file, loadedBytes, totalBytes);
      if (phase === "compile") compileAtMost(Infinity);
    };
    const prepared = await preparation.take();
    compileAtMost(Math.max(0, processors - 2));
    const others = await host();
    engine = await guarded(() =>
      boundary.Engine.load(files, options, onProgress, others, prepared),
    );
    const verdicts = engine.verdicts();
    if (verdicts !== undefined) await keepVerdicts(verdicts);
    throwIfAborted(signal);
    modelName = name;
    return await currentInfo();
  } catch (error) {
    // What is no model must not be met again in place of a new download.
    if (toTabLMError(error).code === "malformed") await model.discard().catch(() => undefined);
    throw error;
  } finally {
    model.close();
  }
}

async function generate(
  request: string,
  signal: AbortSignal,
  onDelta: (delta: EngineDelta) => void,
): Promise<GenerationEnd> {
  const current = engine;
  if (!current) throw new TabLMError("disposed", "no model is loaded");
  await guarded(() => current.begin(request));
  for (let stopped = false; ;) {
    if (signal.aborted && !stopped) {
      stopped = true;
      await guarded(() => current.stop());
    }
    const event = JSON.parse(await guarded(() => current.next())) as EngineEvent;
    if (event.type === "done") {
      const { finish_reason, usage, timings, token_ids } = event;
      return { finish_reason, usage, timings, token_ids, info: await currentInfo() };
    }
    const { text, reasoning, tool_calls } = event;
    if ((text || reasoning || tool_calls.length > 0) && !stopped)
      onDelta({ text, reasoning, tool_calls });
    await nextTask();
  }
}

async function profile(): Promise<Profile> {
  const current = engine;
  if (!current) throw new TabLMError("disposed", "no model is loaded");
  return JSON.parse(await guarded(() => current.profile())) as Profile;
}

async function readCapabilities(): Promise<Capabilities> {
  const { boundary } = await wasm();
  const options = await optionsJson({});
  const report = JSON.parse(await guarded(() => boundary.capabilities(options))) as Record<
    string,
    unknown
  >;
  const persisted = await navigator.storage?.persisted?.().catch(() => null);
  return {
    ...report,
    storage: {
      opfs: (await modelsFolder()) !== null,
      ...(await storageEstimate()),
      persisted: persisted ?? null,
    },
  };
}

async function readEstimate(
  source: SourceDescription,
  options: EngineOptions,
  signal: AbortSignal,
): Promise<Estimate> {
  const { boundary } = await wasm();
  const json = await optionsJson(options);
  const model = await peekModel(source, signal);
  try {
    const report = JSON.parse(
      await guarded(() => boundary.estimate(model.files, json)),
    ) as Estimate;
    return { ...report, download_bytes: model.missingBytes, stored: model.stored };
  } finally {
    model.close();
  }
}

function dispose(): null {
  engine?.free();
  engine = undefined;
  return null;
}

function answer(call: Call, callId: number, signal: AbortSignal): Promise<unknown> | unknown {
  const meter = new Meter((progress: Progress) =>
    scope.postMessage({ type: "progress", callId, progress }),
  );
  switch (call.method) {
    case "load":
      return load(call.params.source, call.params.options, signal, meter);
    case "estimate":
      return readEstimate(call.params.source, call.params.options, signal);
    case "capabilities":
      return readCapabilities();
    case "generate":
      return generate(call.params.request, signal, (delta) =>
        scope.postMessage({ type: "token", callId, delta }),
      );
    case "profile":
      return profile();
    case "dispose":
      return dispose();
    case "listModels":
      return listModels();
    case "deleteModel":
      return deleteModel(call.params.id);
    case "verifyModel":
      return verifyModel(call.params.id, meter);
  }
}

async function run(call: Call, callId: number): Promise<void> {
  const controller = new AbortController();
  running.set(callId, controller);
  try {
    scope.postMessage({
      type: "result",
      callId,
      value: await answer(call, callId, controller.signal),
    });
  } catch (error) {
    scope.postMessage({ type: "error", callId, error: toPlainError(error) });
  } finally {
    running.delete(callId);
  }
}

scope.addEventListener("message", ({ data }) => {
  if (data.type === "init") wasmUrls = data.wasmUrls;
  else if (data.type === "abort") running.get(data.callId)?.abort();
  else if (data.type === "threadsStarted") noteThreadsStarted();
  // As an error of this worker's, not of a promise, the page hears of it.
  else (data.type === "lend" ? lend(data) : run(data, data.callId)).catch(reportError);
});
