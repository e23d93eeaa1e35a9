/**
 * TabLM: small language models inside a browser tab.
 *
 * Importing this module has no effect; every function of `TabLM` starts its own worker.
 */

import entries from "./catalog.json";
import { callOnce, Client, orAborted, type CallEvents } from "./client.js";
import { TabLMError, throwIfAborted, toTabLMError } from "./errors.js";
import { maxSnapshots, maxThreads, optionValues, type EngineOptions } from "./generated.js";
import { modelMemoryBytes } from "./memory.js";
import { Model, type Loaded } from "./model.js";
import { describeSource } from "./source.js";
import type {
  CallOptions,
  Capabilities,
  CatalogEntry,
  Estimate,
  EstimateOptions,
  HubOptions,
  LoadOptions,
  ModelSource,
  Progress,
  StoredModel,
  VerifyReport,
} from "./types.js";

export { TabLMError } from "./errors.js";
export { errorCodes } from "./generated.js";
export type * from "./generated.js";
export type { ChatCompletions, Embeddings, Model } from "./model.js";
export type * from "./openai_types.js";
export type * from "./types.js";

function invalid(option: string, found: unknown, expected: string): TabLMError {
  return new TabLMError(
    "invalid-request",
    `${option}: found ${String(found)}, expected ${expected}`,
  );
}

/** Checks an option that is an integer. */
function checkInteger(option: string, value: unknown, max: number, min = 1): void {
  if (
    value === undefined ||
    (Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max)
  )
    return;
  const range =
    max === Infinity ? `an integer of at least ${min}` : `an integer from ${min} to ${max}`;
  throw invalid(option, value, range);
}

/** The engine's options among those of a call. Throws `invalid-request` for a wrong value. */
function engineOptions(given: EngineOptions): EngineOptions {
  const { contextLength, threads, snapshots, sessionBytes, chatTemplate } = given;
  checkInteger("contextLength", contextLength, Infinity);
  checkInteger("snapshots", snapshots, maxSnapshots, 0);
  checkInteger("sessionBytes", sessionBytes, Infinity, 0);
  checkInteger("threads", threads, maxThreads);
  if (chatTemplate !== undefined && typeof chatTemplate !== "string")
    throw invalid("chatTemplate", typeof chatTemplate, "a string");
  const options: EngineOptions = {
    ...(contextLength !== undefined && { contextLength }),
    ...(threads !== undefined && { threads }),
    ...(snapshots !== undefined && { snapshots }),
    ...(sessionBytes !== undefined && { sessionBytes }),
    ...(chatTemplate !== undefined && { chatTemplate }),
  };
  for (const [name, values] of Object.entries(optionValues)) {
    const value: unknown = given[name as keyof typeof optionValues];
    if (value === undefined) continue;
    if (!(values as readonly unknown[]).includes(value))
      throw invalid(name, value, `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`);
    Object.assign(options, { [name]: value });
  }
  return options;
}

/** The options of hub sources among those of a call. Throws `invalid-request` for a wrong value. */
function hubOptions({ hubUrl, memoryBytes }: HubOptions): HubOptions {
  checkInteger("memoryBytes", memoryBytes, Infinity);
  return {
    ...(hubUrl !== undefined && { hubUrl }),
    ...(memoryBytes !== undefined && { memoryBytes }),
  };
}

/** The bytes of a snapshot, or its absolute URL. Throws `invalid-request` for other values. */
function snapshotSource(snapshot: LoadOptions["snapshot"]): string | Blob | null {
  if (snapshot === undefined) return null;
  if (snapshot instanceof Blob) return snapshot;
  try {
    const base = typeof document === "undefined" ? undefined : document.baseURI;
    return new URL(snapshot, base).href;
  } catch {
    throw invalid("snapshot", snapshot, "a URL or a Blob");
  }
}

/** The signal and the listener among the options of a call. */
function events({
  signal,
  onProgress,
}: CallOptions & { onProgress?: (progress: Progress) => void }): CallEvents {
  return { signal, ...(onProgress && { onProgress }) };
}

/**
 * Loads a model into a worker of its own, downloading it first where it is not stored. Rejects with
 * a `TabLMError`.
 */
async function load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
  const params = {
    source: describeSource(source, hubOptions(options)),
    options: engineOptions(options),
    snapshot: snapshotSource(options.snapshot),
  };
  const start = async (signal: AbortSignal | undefined): Promise<Loaded> => {
    throwIfAborted(signal);
    const client = new Client(options);
    const loading = client.call("load", params, { ...events(options), signal });
    try {
      return { client, info: await orAborted(loading, signal) };
    } catch (error) {
      // An aborted worker first removes its incomplete files.
      const end = (): void => client.end(new TabLMError("disposed", "the model was not loaded"));
      loading.then(end, end);
      throw toTabLMError(error);
    }
  };
  return new Model(start, await start(options.signal));
}

/** Reports the GPU adapter and the storage of this browser. Downloads no model. */
function capabilities(options: CallOptions = {}): Promise<Capabilities> {
  return callOnce("capabilities", null, options, events(options));
}

/** Estimates the download and the memory of a model, from its headers alone. */
async function estimate(source: ModelSource, options: EstimateOptions = {}): Promise<Estimate> {
  const params = {
    source: describeSource(source, hubOptions(options)),
    options: engineOptions(options),
  };
  return callOnce("estimate", params, options, events(options));
}

/** Models that are stored in this origin. */
const models = {
  /** Lists the stored models, complete and incomplete ones. */
  list: (options: CallOptions = {}): Promise<StoredModel[]> =>
    callOnce("listModels", null, options, events(options)),
  /** Deletes a stored model; resolves to false if there was none. */
  delete: (id: string, options: CallOptions = {}): Promise<boolean> =>
    callOnce("deleteModel", { id }, options, events(options)),
  /** Reads a stored model and compares its hashes with those of the download. */
  verify: (
    id: string,
    options: CallOptions & { onProgress?: (progress: Progress) => void } = {},
  ): Promise<VerifyReport> => callOnce("verifyModel", { id }, options, events(options)),
};

/**
 * URL of a source, with a slash at its end for a folder; nothing is fetched. Throws
 * `invalid-request` for an invalid source.
 */
function resolve(source: string | URL, options: HubOptions = {}): string {
  const description = describeSource(source, hubOptions(options));
  if (description.kind === "files")
    throw new TabLMError(
      "invalid-request",
      "source: found files, expected a URL or hf:owner/repo[/file]",
    );
  return description.url;
}

/**
 * Models that are known to load, the recommended ones first. `memoryBytes`, by default that of
 * `capabilities`, decides which fit. Nothing is fetched.
 */
function catalog({ memoryBytes = modelMemoryBytes() }: HubOptions = {}): CatalogEntry[] {
  return entries.map((entry) => ({ ...entry, fits: entry.memoryBytes <= memoryBytes }));
}

/** Entry point of the package. */
export const TabLM = { load, capabilities, estimate, resolve, catalog, models } as const;
