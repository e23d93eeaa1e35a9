/**
 * TabLM: small language models inside a browser tab.
 *
 * Importing this does nothing; everything starts with a call of `TabLM`.
 */

import { callOnce, Client, orAborted, type CallEvents } from "./client.js";
import { TabLMError, throwIfAborted, toTabLMError } from "./errors.js";
import { Model, type Loaded } from "./model.js";
import type { EngineOptions } from "./protocol.js";
import { describeSource } from "./source.js";
import type {
  CallOptions,
  Capabilities,
  Estimate,
  EstimateOptions,
  HubOptions,
  LoadOptions,
  ModelSource,
  Progress,
  StoredModel,
  VerifyReport,
} from "./types.js";

export { errorCodes, TabLMError, type ErrorCode } from "./errors.js";
export type { ChatCompletions, Model } from "./model.js";
export type * from "./types.js";

/** The values of the options that are names. */
const NAMES = {
  device: ["auto", "webgpu", "cpu", "shared"],
  quantize: ["T4", "Q8_0"],
  kvFormat: ["f32", "f16", "q8"],
  variant: ["together", "wide", "subgroups", "half", "packed", "alone", "quads", "pairs"],
  tile: ["staged", "registers", "quads", "eights"],
  cpuVariant: ["exact", "portable", "simd128", "relaxed"],
} as const satisfies { [Name in keyof EngineOptions]?: readonly EngineOptions[Name][] };

/** More threads than processors have that browsers run on. */
const MAX_THREADS = 64;

/** The options that go to the engine, checked. */
function engineOptions({
  contextLength,
  threads,
  chatTemplate,
  ...named
}: EngineOptions): EngineOptions {
  const options: EngineOptions = {};
  if (contextLength !== undefined) {
    if (!Number.isSafeInteger(contextLength) || contextLength < 1) {
      throw new TabLMError(
        "invalid-request",
        `contextLength: found ${contextLength}, expected a positive integer`,
      );
    }
    options.contextLength = contextLength;
  }
  if (threads !== undefined) {
    if (!Number.isSafeInteger(threads) || threads < 1 || threads > MAX_THREADS) {
      throw new TabLMError(
        "invalid-request",
        `threads: found ${threads}, expected an integer from 1 to ${MAX_THREADS}`,
      );
    }
    options.threads = threads;
  }
  for (const [name, values] of Object.entries(NAMES)) {
    const value: unknown = named[name as keyof typeof NAMES];
    if (value === undefined) continue;
    if (!(values as readonly unknown[]).includes(value)) {
      const expected = `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`;
      throw new TabLMError(
        "invalid-request",
        `${name}: found ${String(value)}, expected ${expected}`,
      );
    }
    Object.assign(options, { [name]: value });
  }
  if (chatTemplate !== undefined) {
    if (typeof chatTemplate !== "string") {
      throw new TabLMError(
        "invalid-request",
        `chatTemplate: found ${typeof chatTemplate}, expected a string`,
      );
    }
    options.chatTemplate = chatTemplate;
  }
  return options;
}

/** What a call tells the page, of a method's options. */
function events({
  signal,
  onProgress,
}: CallOptions & { onProgress?: (progress: Progress) => void }): CallEvents {
  return { signal, ...(onProgress && { onProgress }) };
}

/** Loads a model into a worker of its own. */
async function load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
  const params = {
    source: describeSource(source, options.hubUrl),
    options: engineOptions(options),
  };
  const start = async (signal: AbortSignal | undefined): Promise<Loaded> => {
    throwIfAborted(signal);
    const client = new Client(options);
    const loading = client.call("load", params, { ...events(options), signal });
    try {
      return { client, info: await orAborted(loading, signal) };
    } catch (error) {
      // After an abort the worker removes what it had half stored; then it ends.
      const end = (): void => client.end(new TabLMError("disposed", "the model was not loaded"));
      loading.then(end, end);
      throw toTabLMError(error);
    }
  };
  return new Model(start, await start(options.signal));
}

/** What this browser offers: adapter, features, limits, storage. Downloads no model. */
function capabilities(options: CallOptions = {}): Promise<Capabilities> {
  return callOnce("capabilities", null, options, events(options));
}

/** What a model will take, from its headers alone. */
async function estimate(source: ModelSource, options: EstimateOptions = {}): Promise<Estimate> {
  const params = {
    source: describeSource(source, options.hubUrl),
    options: engineOptions(options),
  };
  return callOnce("estimate", params, options, events(options));
}

/** What is stored in this origin. */
const models = {
  /** Every stored model, whole or begun. */
  list: (options: CallOptions = {}): Promise<StoredModel[]> =>
    callOnce("listModels", null, options, events(options)),
  /** Deletes a stored model; answers whether there was one. */
  delete: (id: string, options: CallOptions = {}): Promise<boolean> =>
    callOnce("deleteModel", { id }, options, events(options)),
  /** Reads a stored model again and compares its hashes. */
  verify: (
    id: string,
    options: CallOptions & { onProgress?: (progress: Progress) => void } = {},
  ): Promise<VerifyReport> => callOnce("verifyModel", { id }, options, events(options)),
};

/** The address that a source names, a folder's with a slash at its end; nothing is fetched. Throws `invalid-request`. */
function resolve(source: string | URL, { hubUrl }: HubOptions = {}): string {
  const description = describeSource(source, hubUrl);
  if (description.kind === "files")
    throw new TabLMError("invalid-request", "source: found files, expected an address");
  return description.url;
}

/** The entry point. */
export const TabLM = { load, capabilities, estimate, resolve, models } as const;
