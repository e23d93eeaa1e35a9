/**
 * Sources of models: the URL of a file, which may be in parts, the URL of a folder, files, or a
 * repository of the hub, of which a file is to be chosen.
 */

import { TabLMError } from "./errors.js";
import type { HubOptions, ModelSource } from "./types.js";

/** A source whose files are known. */
export type ConcreteSource =
  | { kind: "file-url"; url: string; name: string }
  | { kind: "folder-url"; url: string; name: string }
  | { kind: "files"; files: NamedFile[]; name: string };

/** A file and its name in the model, with its subfolder if it belongs to a module. */
export interface NamedFile {
  name: string;
  file: File;
}

/** A repository of the hub. */
export interface RepositorySource {
  kind: "repository";
  /** URL of its folder. */
  url: string;
  /** Owner and repository, with the revision if there is one. */
  name: string;
  /** Name without owner and revision. */
  repository: string;
  /** URL of the list of its files. */
  listUrl: string;
  /** Bytes that the model may take; by default what the device suggests. */
  memoryBytes?: number;
}

/** A source in the form that the worker receives. */
export type SourceDescription = ConcreteSource | RepositorySource;

/** End of the name of a GGUF file in parts: number of the part, number of parts. */
export const PART = /-(\d{5})-of-(\d{5})\.gguf$/i;

const HUB = "https://huggingface.co/";
const EXPECTED_SOURCE = "a URL, hf:owner/repo[@revision][/file] or a File";
const HUB_FORM = /^hf:([\w.-]+)\/([\w.-]+?)(?:@([\w.-]+))?(?:\/(.+))?$/su;

/** Subfolder of a module, as sentence-transformers names it. */
export const MODULE_FOLDER = /^[a-z0-9]+_[a-z0-9]+$/i;

/** A file by its name, or by its path in a module's folder; workers may not receive its path. */
function named(file: File): NamedFile {
  const [, folder = "", name, ...deeper] = (file.webkitRelativePath ?? "").split("/");
  const isOfModule = name && deeper.length === 0 && MODULE_FOLDER.test(folder);
  return { name: isOfModule ? `${folder}/${name}` : file.name, file };
}

function invalid(message: string): TabLMError {
  return new TabLMError("invalid-request", `source: ${message}`);
}

/** URL of a folder in a hub, from parts that are not percent-encoded. */
function hubPath(hub: string, parts: readonly string[]): string {
  return `${hub.endsWith("/") ? hub : `${hub}/`}${parts.map(encodeURIComponent).join("/")}`;
}

/**
 * Source of `hf:owner/repo[@revision][/file]`. The file's name is not percent-encoded. Without a
 * file, the source is a repository.
 */
function describeHubSource(
  source: string,
  hub: string,
  base: string | undefined,
  memoryBytes: number | undefined,
): SourceDescription {
  const match = HUB_FORM.exec(source);
  const [, owner = "", repository = "", revision = "main", file = ""] = match ?? [];
  const path = [owner, repository, "resolve", revision, ...file.split("/")];
  if (!match || path.some((part) => part === "." || part === "..") || /\p{Cs}/u.test(file)) {
    throw invalid(`found ${source.slice(0, 200)}, expected hf:owner/repo[@revision][/file]`);
  }
  const description = describeUrl(hubPath(hub, path), base);
  if (description.kind !== "folder-url") return description;
  const { url } = description;
  const name = source.slice("hf:".length);
  if (file !== "") return { kind: "folder-url", url, name };
  const list = hubPath(hub, ["api", "models", owner, repository, "tree", revision]);
  const listUrl = new URL(`${list}?recursive=true`, base).href;
  const memory = memoryBytes !== undefined && { memoryBytes };
  return { kind: "repository", url, name, repository, listUrl, ...memory };
}

/** URL of a file in a folder, with the folder's query (signed URLs have their tokens there). */
export function inFolder(folder: string, path: string): string {
  const url = new URL(folder);
  url.pathname += path.split("/").map(encodeURIComponent).join("/");
  return url.href;
}

/** Path of another part of a file in parts. */
export function partPath(path: string, number: number): string {
  return path.replace(/\d{5}(-of-\d{5}\.gguf)$/i, `${String(number).padStart(5, "0")}$1`);
}

function lastSegment(path: string): string {
  const segment = path.split("/").filter(Boolean).at(-1) ?? "model";
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function describeUrl(text: string, base: string | undefined): ConcreteSource {
  let url: URL;
  try {
    url = new URL(text, base);
  } catch {
    throw invalid(`found ${text.slice(0, 200)}, expected ${EXPECTED_SOURCE}`);
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw invalid(
      `found the scheme ${url.protocol}, expected http: or https: (use a File for local data)`,
    );
  }
  url.hash = "";
  // The URL of any part names the same model; the first part's identifies it.
  if (PART.test(url.pathname)) url.pathname = partPath(url.pathname, 1);
  const name = lastSegment(url.pathname);
  if (/\.gguf$/i.test(url.pathname)) return { kind: "file-url", url: url.href, name };
  if (/\.safetensors(\.index\.json)?$/i.test(url.pathname)) {
    throw invalid(
      `found the file ${name}, expected the URL of its folder, with config.json and tokenizer.json`,
    );
  }
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return { kind: "folder-url", url: url.href, name };
}

/**
 * Name of a folder of files: the common first segment of their paths, else the first file's name.
 */
function folderName(files: readonly File[]): string {
  return files[0]?.webkitRelativePath?.split("/")[0] || files[0]?.name || "model";
}

/**
 * Parses a source; relative URLs are relative to the page, `hf:` ones to the hub. Throws
 * `invalid-request`.
 */
export function describeSource(
  source: ModelSource,
  { hubUrl = HUB, memoryBytes }: HubOptions = {},
): SourceDescription {
  const base = typeof document === "undefined" ? undefined : document.baseURI;
  if (typeof source === "string") {
    if (!source.startsWith("hf:")) return describeUrl(source, base);
    return describeHubSource(source, String(hubUrl), base, memoryBytes);
  }
  if (source instanceof URL) return describeUrl(source.href, base);
  if (typeof File !== "undefined") {
    if (source instanceof File) return { kind: "files", files: [named(source)], name: source.name };
    if (
      Array.isArray(source) &&
      source.length > 0 &&
      source.every((file) => file instanceof File)
    ) {
      return { kind: "files", files: source.map(named), name: folderName(source) };
    }
  }
  throw invalid(`found ${typeof source}, expected ${EXPECTED_SOURCE}`);
}
