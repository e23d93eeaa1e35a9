/**
 * The worker: owns the wasm engine of one model, opens stored models, and answers the page's calls.
 */

import { adapterHints } from "./adapter.js";
import { joinEngine, startEngine, type StartedEngine, type WasmUrls } from "./builds.js";
import { request } from "./download.js";
import { hasCode, TabLMError, throwIfAborted, toPlainError, toTabLMError } from "./errors.js";
import { modelMemoryBytes } from "./memory.js";
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
import { compileAhead, compileAtMost, forgetPipelines, observeDevices } from "./pipelines.js";
import type {
  AnswerDelta,
  Completion,
  EmbeddingUsage,
  EngineEstimate,
  EngineInfo,
  EngineOptions,
  EngineProgress,
  GpuCapabilities,
  Profile,
} from "./generated.js";
import type {
  Call,
  EmbeddingsEnd,
  FromWorker,
  GenerationEnd,
  RunningEngine,
  ToWorker,
} from "./protocol.js";
import { chooseSource, type EstimateModel } from "./repository.js";
import {
  blobFile,
  deleteSession,
  GrowingBlob,
  listSessions,
  restoreSession,
  saveSession,
} from "./session_store.js";
import type { SourceDescription } from "./source.js";
import { readTuning, writeTuning } from "./tuning_cache.js";
import type { Capabilities, Estimate, FileChoice, ModelInfo, Progress } from "./types.js";
import type { Engine, Host, Prepared, SourceFile } from "./wasm/simd/tablm.js";

/** The part of a dedicated worker's global scope that is used here. */
interface WorkerScope {
  postMessage(message: FromWorker): void;
  close(): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToWorker>) => void): void;
}

/** Events of the engine, parsed from JSON. */
type EngineEvent = ({ type: "token" } & AnswerDelta) | ({ type: "done" } & Completion);

observeDevices();

/**
 * Number of processors. An upload keeps two busy: one for this worker, one for the browser's GPU
 * process.
 */
const processors = navigator.hardwareConcurrency || 2;

const scope = globalThis as unknown as WorkerScope;
const running = new Map<number, AbortController>();

let wasmUrls: WasmUrls | null = null;
let wasmModule: Promise<StartedEngine> | undefined;
/** Number of threads on the CPU. */
let threads = defaultThreads();
let onThreadsStarted = (): void => undefined;
let engine: Engine | undefined;
let modelName = "";
let fileChoice: FileChoice | undefined;
/** Reason why the snapshot of the load is not used. */
let snapshotWarning: string | undefined;
/** Conversations that others have replaced, by the engine's numbers. */
const keptSessions = new Map<number, GrowingBlob>();
/** Reason why the wasm trapped, after which its memory may be inconsistent. */
let trapped: string | undefined;

/**
 * All processors up to 4; beyond that half of them, 4 to 8. Two processors often share a core, and
 * the cores of a phone differ in speed.
 */
function defaultThreads(): number {
  return processors <= 4 ? processors : Math.min(8, Math.max(4, processors / 2));
}

/** Fetches and starts the wasm once. */
function wasm(): Promise<StartedEngine> {
  wasmModule ??= startEngine(wasmUrls, threads > 1).catch((error: unknown) => {
    wasmModule = undefined;
    const code = toTabLMError(error).code === "out-of-memory" ? "out-of-memory" : "network";
    throw new TabLMError(code, `could not load the wasm module (${(error as Error).message})`, {
      cause: error,
    });
  });
  return wasmModule;
}

/** Waits for the next macrotask, so that pending messages such as an abort are handled. */
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
 * Runs a job of the engine and records a trap, which is any error without a code: a trap of wasm,
 * or an exhausted stack (a RangeError, in Firefox an InternalError), which leaves locks taken.
 */
async function guarded<T>(job: () => T | Promise<T>): Promise<T> {
  if (trapped !== undefined)
    throw new TabLMError("internal", `the engine has crashed (${trapped}); load the model again`);
  try {
    return await job();
  } catch (error) {
    // The first assignment calls nothing: the stack may be exhausted.
    const before = trapped;
    trapped = "stack exhausted";
    trapped = hasCode(error) ? before : String((error as Error | null)?.message ?? error);
    throw error;
  }
}

async function currentInfo(): Promise<ModelInfo> {
  const { build, memory } = await wasm();
  const info = JSON.parse(loaded().info()) as EngineInfo;
  return {
    ...info,
    name: modelName,
    build,
    warnings: snapshotWarning === undefined ? info.warnings : [...info.warnings, snapshotWarning],
    ...(fileChoice && { choice: fileChoice }),
    memory: { ...info.memory, wasmHeapBytes: memory.buffer.byteLength },
  };
}

/** Services that the engine calls. */
async function host(): Promise<Host> {
  const { build } = await wasm();
  const startThreads = (module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<void> =>
    new Promise((resolve) => {
      onThreadsStarted = resolve;
      scope.postMessage({ type: "startThreads", count: threads - 1, module, memory });
    });
  return {
    compileAhead,
    threads: build === "threads" ? threads : 1,
    startThreads,
    appendSession(id, bytes) {
      const session = keptSessions.get(id) ?? new GrowingBlob();
      session.append(bytes);
      keptSessions.set(id, session);
    },
    openSession: (id) => blobFile("kept session", keptSessions.get(id)?.blob() ?? new Blob()),
    removeSession: (id) => void keptSessions.delete(id),
  };
}

/** Makes this worker a thread of another worker's engine until that engine is dropped. */
async function serveAsThread({ module, memory }: RunningEngine): Promise<void> {
  const { runThread } = await joinEngine(module, memory);
  scope.postMessage({ type: "threadStarted" });
  runThread();
  scope.close();
}

/** The engine's options as JSON: the caller's, the adapter's properties and tuning records. */
async function optionsJson({ threads, ...options }: EngineOptions): Promise<string> {
  if (options.device === "cpu") return JSON.stringify(options);
  const { build } = await wasm();
  const [adapter, tuningCache] = await Promise.all([adapterHints(build), readTuning()]);
  return JSON.stringify({ ...options, adapter, tuningCache });
}

/**
 * Preparation of a load during the download: planning and compilation, as soon as the headers are
 * downloaded. It only saves time: the load repeats steps that fail here, and reports their errors.
 */
class Preparation {
  #prepared: Promise<Prepared | undefined> = Promise.resolve(undefined);

  constructor(private options: Promise<string>) {}

  begin(files: SourceFile[]): void {
    compileAtMost(Math.max(1, processors - 1));
    this.#prepared = (async () => {
      const [{ boundary }, options] = await Promise.all([wasm(), this.options]);
      const services = await host();
      return guarded(() => boundary.Prepared.of(files, options, services));
    })().catch(() => undefined);
  }

  /** The result, if there is one; the caller has to free it. */
  take(): Promise<Prepared | undefined> {
    const prepared = this.#prepared;
    this.#prepared = Promise.resolve(undefined);
    return prepared;
  }
}

const estimateModel: EstimateModel = async (files, options) => {
  const [{ boundary }, json] = await Promise.all([wasm(), optionsJson(options)]);
  return JSON.parse(await guarded(() => boundary.estimate(files, json))) as EngineEstimate;
};

async function load(
  given: SourceDescription,
  givenOptions: EngineOptions,
  snapshot: string | Blob | null,
  signal: AbortSignal,
  meter: Meter,
): Promise<ModelInfo> {
  if (engine) throw new TabLMError("internal", "found a second load in a worker, expected one");
  // Threads are of no use to the GPU.
  threads = givenOptions.threads ?? (givenOptions.device === "webgpu" ? 1 : threads);
  const chosen = await chooseSource(given, givenOptions, estimateModel, signal);
  const { source, options } = chosen;
  const engineOptions = optionsJson(options);
  const preparation = new Preparation(engineOptions);
  try {
    // The wasm is fetched during the download of the model; `loadOpened` reports a failure.
    engineOptions.catch(() => undefined);
    const model = await openModel(source, signal, meter, (files) => preparation.begin(files));
    fileChoice = chosen.choice;
    await loadOpened(model, source.name, engineOptions, preparation, signal, meter);
    if (snapshot !== null) await useSnapshot(snapshot, signal);
    return await currentInfo();
  } finally {
    void preparation.take().then((prepared) => prepared?.free());
    forgetPipelines();
  }
}

async function loadOpened(
  model: OpenedModel,
  name: string,
  engineOptions: Promise<string>,
  preparation: Preparation,
  signal: AbortSignal,
  meter: Meter,
): Promise<void> {
  try {
    const [{ boundary }, options] = await Promise.all([wasm(), engineOptions]);
    throwIfAborted(signal);
    const files = model.files.map((file) => ({
      ...file,
      read(offset: number, length: number) {
        throwIfAborted(signal);
        return file.read(offset, length);
      },
    }));
    const onProgress = (json: string): void => {
      const { phase, loadedBytes, totalBytes, file } = JSON.parse(json) as EngineProgress;
      meter.report(phase, file, loadedBytes, totalBytes);
      if (phase === "compile") compileAtMost(Infinity);
    };
    const prepared = await preparation.take();
    compileAtMost(Math.max(0, processors - 2));
    const services = await host();
    engine = await guarded(() =>
      boundary.Engine.load(files, options, onProgress, services, prepared),
    );
    const tuning = engine.tuningCache();
    if (tuning !== undefined) await writeTuning(tuning);
    throwIfAborted(signal);
    modelName = name;
  } catch (error) {
    // The next load must download a malformed file again instead of opening the stored copy.
    if (toTabLMError(error).code === "malformed") await model.discard().catch(() => undefined);
    throw error;
  } finally {
    model.close();
  }
}

/** Keeps the snapshot of a load for every conversation that begins as it does. */
async function useSnapshot(snapshot: string | Blob, signal: AbortSignal): Promise<void> {
  const current = loaded();
  try {
    const bytes =
      typeof snapshot === "string" ? await (await request(snapshot, { signal })).blob() : snapshot;
    if (await guarded(() => current.keepSession(blobFile("file", bytes)))) return;
    snapshotWarning = "snapshot: it needs more memory than sessionBytes; it is not used";
  } catch (error) {
    // It only saves time: the load goes on without it.
    throwIfAborted(signal);
    if (trapped !== undefined) throw error;
    snapshotWarning = `snapshot: ${toTabLMError(error).message}; it is not used`;
  }
}

/** The engine. Throws `disposed` if no model is loaded. */
function loaded(): Engine {
  if (engine) return engine;
  throw new TabLMError("disposed", "no model is loaded");
}

async function generate(
  request: string,
  signal: AbortSignal,
  onDelta: (delta: AnswerDelta) => void,
): Promise<GenerationEnd> {
  const current = loaded();
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
    const { type: _, ...delta } = event;
    const isEmpty =
      !delta.text && !delta.reasoning && delta.tool_calls.length + delta.logprobs.length === 0;
    if (!isEmpty && !stopped) onDelta(delta);
    await nextTask();
  }
}

async function embed(request: string, signal: AbortSignal): Promise<EmbeddingsEnd> {
  const current = loaded();
  const usage = JSON.parse(await guarded(() => current.beginEmbeddings(request))) as EmbeddingUsage;
  const embeddings: Float32Array[] = [];
  for (;;) {
    throwIfAborted(signal);
    const embedding = await guarded(() => current.nextEmbedding());
    if (!embedding) return { embeddings, usage, info: await currentInfo() };
    embeddings.push(embedding);
    await nextTask();
  }
}

async function profile(): Promise<Profile> {
  const current = loaded();
  return JSON.parse(await guarded(() => current.profile())) as Profile;
}

async function readCapabilities(): Promise<Capabilities> {
  const { boundary } = await wasm();
  const options = await optionsJson({});
  const gpu = JSON.parse(await guarded(() => boundary.capabilities(options))) as GpuCapabilities;
  const persisted = await navigator.storage?.persisted?.().catch(() => null);
  return {
    ...gpu,
    storage: {
      opfs: (await modelsFolder()) !== null,
      ...(await storageEstimate()),
      persisted: persisted ?? null,
    },
    memoryBytes: modelMemoryBytes(),
  };
}

async function readEstimate(
  given: SourceDescription,
  givenOptions: EngineOptions,
  signal: AbortSignal,
): Promise<Estimate> {
  const chosen = await chooseSource(given, givenOptions, estimateModel, signal);
  if (chosen.estimate) return chosen.estimate;
  const { source, options, choice } = chosen;
  const model = await peekModel(source, signal);
  try {
    const report = await estimateModel(model.files, options);
    const { missingBytes: downloadBytes, stored } = model;
    return { ...report, downloadBytes, stored, ...(choice && { choice }) };
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
      return load(call.params.source, call.params.options, call.params.snapshot, signal, meter);
    case "estimate":
      return readEstimate(call.params.source, call.params.options, signal);
    case "capabilities":
      return readCapabilities();
    case "generate":
      return generate(call.params.request, signal, (delta) =>
        scope.postMessage({ type: "token", callId, delta }),
      );
    case "embed":
      return embed(call.params.request, signal);
    case "profile":
      return profile();
    case "saveSession": {
      const { id, kvFormat } = call.params;
      return guarded(() => saveSession(loaded(), id, kvFormat, signal));
    }
    case "restoreSession": {
      const { saved } = call.params;
      return guarded(async () => ({ tokens: await restoreSession(loaded(), saved, signal) }));
    }
    case "listSessions":
      return guarded(() => listSessions(loaded()));
    case "deleteSession":
      return deleteSession(call.params.id);
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
  else if (data.type === "threadsStarted") onThreadsStarted();
  // `reportError` makes a rejection an error event of this worker, which the page receives.
  else if (data.type === "runThread") serveAsThread(data).catch(reportError);
  else run(data, data.callId).catch(reportError);
});
