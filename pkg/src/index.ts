/**
 * TabLM: small language models inside a browser tab.
 *
 * Importing this does nothing; everything starts with a call of `TabLM`.
 */

import { callOnce, Client, orAborted } from "./client.js";
import { TabLMError, throwIfAborted, toTabLMError } from "./errors.js";
import { Model } from "./model.js";
import type { EngineOptions } from "./protocol.js";
import { describeSource } from "./source.js";
import type {
  AssetOptions,
  Capabilities,
  Estimate,
  EstimateOptions,
  LoadOptions,
  ModelSource,
  Progress,
  StoredModel,
  VerifyReport,
} from "./types.js";

export { errorCodes, TabLMError, type ErrorCode } from "./errors.js";
export type { ChatCompletions, Model } from "./model.js";
export type * from "./types.js";

/** How long a worker may take to tidy up after an abort before it is ended. */
const ABORT_GRACE_MS = 2000;

/** The values of the options that are names. */
const NAMES = {
  device: ["auto", "webgpu", "cpu", "shared"],
  quantise: ["T4", "Q8_0"],
  kvFormat: ["f32", "f16", "q8"],
  variant: ["together", "wide", "subgroups", "half", "packed", "alone", "quads", "pairs"],
  tile: ["staged", "registers", "quads", "eights"],
  cpuVariant: ["exact", "portable", "simd128", "relaxed"],
} as const satisfies { [Name in keyof EngineOptions]?: readonly EngineOptions[Name][] };

/** More threads than processors have that browsers run on. */
const THREADS_MAX = 64;

/** The options that go to the engine, checked. */
function engineOptions({ contextLength, threads, chatTemplate, ...named }: EngineOptions): EngineOptions {
  const options: EngineOptions = {};
  if (contextLength !== undefined) {
    if (!Number.isSafeInteger(contextLength) || contextLength < 1) {
      throw new TabLMError("invalid-request", `contextLength: found ${contextLength}, expected a positive integer`);
    }
    options.contextLength = contextLength;
  }
  if (threads !== undefined) {
    if (!Number.isSafeInteger(threads) || threads < 1 || threads > THREADS_MAX) {
      throw new TabLMError("invalid-request", `threads: found ${threads}, expected an integer from 1 to ${THREADS_MAX}`);
    }
    options.threads = threads;
  }
  for (const [name, values] of Object.entries(NAMES)) {
    const value: unknown = named[name as keyof typeof NAMES];
    if (value === undefined) continue;
    if (!(values as readonly unknown[]).includes(value)) {
      const expected = `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`;
      throw new TabLMError("invalid-request", `${name}: found ${String(value)}, expected ${expected}`);
    }
    Object.assign(options, { [name]: value });
  }
  if (chatTemplate !== undefined) {
    if (typeof chatTemplate !== "string") {
      throw new TabLMError("invalid-request", `chatTemplate: found ${typeof chatTemplate}, expected a string`);
    }
    options.chatTemplate = chatTemplate;
  }
  return options;
}

/** Loads a model into a worker of its own. */
async function load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
  const params = { source: describeSource(source, options.hubUrl), options: engineOptions(options) };
  const { signal, onProgress } = options;
  throwIfAborted(signal);
  const client = new Client(options);
  const loading = client.call("load", params, { signal, ...(onProgress && { onProgress }) });
  try {
    return new Model(client, await orAborted(loading, signal));
  } catch (error) {
    const end = (): void => client.end(new TabLMError("disposed", "the model was not loaded"));
    // After an abort the worker removes what it had half stored; then it ends.
    const timer = setTimeout(end, ABORT_GRACE_MS);
    loading
      .catch(() => undefined)
      .finally(() => {
        clearTimeout(timer);
        end();
      });
    throw toTabLMError(error);
  }
}

/** What this browser offers: adapter, features, limits, storage. Downloads no model. */
function capabilities(options: AssetOptions = {}): Promise<Capabilities> {
  return callOnce("capabilities", null, options);
}

/** What a model will take, from its headers alone. */
async function estimate(source: ModelSource, options: EstimateOptions = {}): Promise<Estimate> {
  const params = { source: describeSource(source, options.hubUrl), options: engineOptions(options) };
  throwIfAborted(options.signal);
  return orAborted(callOnce("estimate", params, options, { signal: options.signal }), options.signal);
}

/** What is stored in this origin. */
const models = {
  /** Every stored model, whole or begun. */
  list: (options: AssetOptions = {}): Promise<StoredModel[]> => callOnce("listModels", null, options),
  /** Deletes a stored model; answers whether there was one. */
  delete: (id: string, options: AssetOptions = {}): Promise<boolean> => callOnce("deleteModel", { id }, options),
  /** Reads a stored model again and compares its hashes. */
  verify: (id: string, options: AssetOptions & { onProgress?: (progress: Progress) => void } = {}): Promise<VerifyReport> =>
    callOnce("verifyModel", { id }, options, { ...(options.onProgress && { onProgress: options.onProgress }) }),
};

/** The entry point. */
export const TabLM = { load, capabilities, estimate, models } as const;
