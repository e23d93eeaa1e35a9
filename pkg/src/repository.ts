/** Repositories of the hub that a source names without a file: their files, and the one to load. */

import {
  candidatesOf,
  keyOf,
  neededBytes,
  rank,
  reasonFor,
  type Candidate,
  type ListedFile,
  type MemoryFacts,
} from "./choice.js";
import { readAll, requestOptional } from "./download.js";
import { TabLMError, throwIfAborted, toTabLMError } from "./errors.js";
import type { EngineEstimate, EngineOptions, ErrorCode } from "./generated.js";
import { modelMemoryBytes } from "./memory.js";
import { listModels, peekModel, type OpenedModel } from "./model_store.js";
import {
  inFolder,
  partPath,
  type ConcreteSource,
  type RepositorySource,
  type SourceDescription,
} from "./source.js";
import type { Estimate, FileChoice } from "./types.js";

/** A source whose files are known, with the options to load it with. */
export interface ChosenSource {
  source: ConcreteSource;
  options: EngineOptions;
  /** Absent where the source names its files. */
  choice?: FileChoice;
  /** Estimate, if the choice needed it. */
  estimate?: Estimate;
}

/** Estimates a model from its headers. */
export type EstimateModel = (
  files: OpenedModel["files"],
  options: EngineOptions,
) => Promise<EngineEstimate>;

/** Pages of a repository's list of files, of 1000 files each. */
const MAX_PAGES = 20;
/** Models whose headers are read for a choice. */
const MAX_HEADERS = 4;
/** Errors of headers after which another file of the repository may load. */
const OF_ONE_FILE: readonly ErrorCode[] = ["unsupported-format", "missing-tensors", "malformed"];

/** Files in a page of a list. Throws `malformed` if it is no list. */
function filesIn(url: string, text: string): ListedFile[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    // Reported below.
  }
  if (!Array.isArray(list))
    throw new TabLMError("malformed", `${url}: found no list, expected the repository's files`);
  return list.flatMap((entry: { type?: unknown; path?: unknown; size?: unknown } | null) => {
    const { type, path, size } = entry ?? {};
    const isFile = type === "file" && typeof path === "string" && Number.isSafeInteger(size);
    const isInside = isFile && path.split("/").every((part) => !["", ".", ".."].includes(part));
    return isInside && Number(size) >= 0 ? [{ path, sizeBytes: Number(size) }] : [];
  });
}

/** URL of the next page of a list; `null` after the last. */
function nextPage(url: string, response: Response): string | null {
  const link = /<([^<>]+)>\s*;\s*rel="next"/.exec(response.headers.get("link") ?? "")?.[1];
  if (link === undefined || !URL.canParse(link, url)) return null;
  // A mirror may pass on links to the hub: only the query tells the page.
  const next = new URL(url);
  next.search = new URL(link, url).search;
  return next.href;
}

/** The files of a repository; `null` for a server that has no such list. */
export async function listFiles(
  { listUrl }: RepositorySource,
  signal: AbortSignal,
): Promise<ListedFile[] | null> {
  const files: ListedFile[] = [];
  let url: string | null = listUrl;
  for (let page = 0; url !== null && page < MAX_PAGES; page += 1) {
    const response = await requestOptional(url, signal);
    if (!response) return page === 0 ? null : files;
    files.push(...filesIn(url, await readAll(url, response, signal)));
    url = nextPage(url, response);
  }
  return files;
}

/** The files of a repository's models that are stored completely, by their first parts. */
async function storedFiles({ url }: RepositorySource): Promise<ListedFile[]> {
  const stored = (await listModels()).filter(
    ({ source, complete }) => complete && source.startsWith(url),
  );
  return stored.flatMap(({ source, sizeBytes, files }) => {
    const path = decodeURIComponent(source.slice(url.length));
    if (path === "") return files.map(({ name, sizeBytes }) => ({ path: name, sizeBytes }));
    // All parts are stored: here the first counts for all.
    return files.map((_, index) => ({
      path: partPath(path, index + 1),
      sizeBytes: index === 0 ? sizeBytes : 0,
    }));
  });
}

/** The source of a candidate. */
function sourceOf(repository: RepositorySource, { file }: Candidate): ConcreteSource {
  const { url, name } = repository;
  if (file === "") return { kind: "folder-url", url, name };
  return {
    kind: "file-url",
    url: inFolder(url, file),
    name: file.slice(file.lastIndexOf("/") + 1),
  };
}

/** Bytes that a model needs on the device that the options ask for; Infinity if it refuses. */
function needsOf(report: EngineEstimate, device: EngineOptions["device"]): number {
  const onGpu = device !== "cpu" && report.fits !== null;
  const onCpu = !onGpu || device === "hybrid";
  if ((onGpu && report.misfit !== null) || (onCpu && report.cpuMisfit !== null)) return Infinity;
  return (onGpu ? report.memory.peakGpuBytes : 0) + (onCpu ? report.cpuMemory.peakCpuBytes : 0);
}

/** A choice that is being made: the candidates, and what was learned about them. */
class Choice {
  #facts: MemoryFacts;
  #exactBytes = new Map<string, number>();
  #estimates = new Map<string, Estimate>();
  #candidates: Candidate[];

  constructor(
    private repository: RepositorySource,
    private options: EngineOptions,
    candidates: Candidate[],
  ) {
    this.#candidates = candidates;
    this.#facts = {
      memoryBytes: repository.memoryBytes ?? modelMemoryBytes(),
      otherBytes: null,
      parameters: null,
      exactBytes: this.#exactBytes,
    };
  }

  get ranked(): Candidate[] {
    return rank(this.#candidates, this.#facts);
  }

  /** Reads headers until those of the best candidate are known; drops files that cannot load. */
  async settle(estimate: EstimateModel, signal: AbortSignal): Promise<void> {
    for (let read = 0; read < MAX_HEADERS && !this.#isClear(); read += 1) {
      const [best] = this.ranked;
      if (!best || this.#exactBytes.has(keyOf(best))) return;
      try {
        await this.#read(best, estimate, signal);
      } catch (error) {
        throwIfAborted(signal);
        const { code } = toTabLMError(error);
        // Without headers, sizes decide; the load reports the failure.
        if (code === "network") return;
        const others = this.#candidates.filter(({ file }) => file !== best.file);
        if (!OF_ONE_FILE.includes(code) || others.length === 0) throw error;
        this.#candidates = others;
      }
    }
  }

  /** True if headers cannot change the choice: there is one model, and memory is ample for it. */
  #isClear(): boolean {
    const [best, ...others] = this.ranked;
    if (!best || others.length === 0) return true;
    const isOnly = others.every(({ file }) => file === best.file);
    return (
      isOnly && !best.quantize && neededBytes(best, this.#facts) <= this.#facts.memoryBytes / 2
    );
  }

  async #read(best: Candidate, estimate: EstimateModel, signal: AbortSignal): Promise<void> {
    const model = await peekModel(sourceOf(this.repository, best), signal);
    try {
      const report = await estimate(model.files, this.optionsFor(best));
      const { missingBytes: downloadBytes, stored } = model;
      this.#estimates.set(keyOf(best), { ...report, downloadBytes, stored });
      this.#exactBytes.set(keyOf(best), needsOf(report, this.options.device));
      const { stateBytes, snapshotBytes, scratchBytes } =
        report.fits === null ? report.cpuMemory : report.memory;
      this.#facts = {
        ...this.#facts,
        otherBytes: stateBytes + snapshotBytes + scratchBytes,
        parameters: report.parameters,
      };
    } finally {
      model.close();
    }
  }

  optionsFor({ quantize }: Candidate): EngineOptions {
    return quantize === undefined ? this.options : { ...this.options, quantize };
  }

  /** The chosen source; `where` is added to the reason. */
  chosen(where: string): ChosenSource {
    const ranked = this.ranked;
    const [best] = ranked;
    if (!best) throw new TabLMError("internal", "found no candidate, expected one");
    const choice: FileChoice = {
      file: best.file,
      reason: reasonFor(ranked, this.#facts) + where,
      ...(best.quantize !== undefined &&
        best.quantize !== this.options.quantize && { quantize: best.quantize }),
      candidates: ranked.map((candidate) => {
        const memoryBytes = neededBytes(candidate, this.#facts);
        const { file, sizeBytes, quantize } = candidate;
        return {
          file,
          sizeBytes,
          memoryBytes: Number.isFinite(memoryBytes) ? memoryBytes : null,
          fits: memoryBytes <= this.#facts.memoryBytes,
          ...(quantize !== undefined && { quantize }),
        };
      }),
    };
    const estimate = this.#estimates.get(keyOf(best));
    return {
      source: sourceOf(this.repository, best),
      options: this.optionsFor(best),
      choice,
      ...(estimate && { estimate: { ...estimate, choice } }),
    };
  }
}

/**
 * The files to load from a source. For a repository without a file, the stored model, or else the
 * best of the hub's for this device; only the list of files and headers are downloaded. Throws
 * `unsupported-format` for a repository without a model that could be loaded.
 */
export async function chooseSource(
  source: SourceDescription,
  options: EngineOptions,
  estimate: EstimateModel,
  signal: AbortSignal,
): Promise<ChosenSource> {
  if (source.kind !== "repository") return { source, options };
  const stored = candidatesOf(await storedFiles(source), source.repository, options.quantize);
  const files = stored.length > 0 ? [] : await listFiles(source, signal);
  if (files === null)
    return { source: { kind: "folder-url", url: source.url, name: source.name }, options };
  const candidates =
    stored.length > 0 ? stored : candidatesOf(files, source.repository, options.quantize);
  if (candidates.length === 0)
    throw new TabLMError(
      "unsupported-format",
      `${source.name}: found no .gguf file and no complete folder of safetensors, expected one`,
    );
  const choice = new Choice(source, options, candidates);
  await choice.settle(estimate, signal);
  return choice.chosen(stored.length > 0 ? " It is stored in this browser." : "");
}
