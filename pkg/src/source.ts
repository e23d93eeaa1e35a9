/** What a source names: a file behind a URL, maybe in parts, a folder behind a URL, or files in hand. */

import { TabLMError } from "./errors.js";
import type { ModelSource } from "./types.js";

/** A source as it goes to the worker. */
export type SourceDescription =
  | { kind: "file-url"; url: string; name: string }
  | { kind: "folder-url"; url: string; name: string }
  | { kind: "files"; files: File[]; name: string };

/** How the parts of a GGUF file end: which one of how many. */
export const PART = /-(\d{5})-of-(\d{5})\.gguf$/i;

const HUB = "https://huggingface.co/";
const NONSENSE = "a URL, hf:owner/repo[@revision][/file] or a File";
const HUB_FORM = /^hf:([\w.-]+)\/([\w.-]+?)(?:@([\w.-]+))?(?:\/(.+))?$/su;

function invalid(message: string): TabLMError {
  return new TabLMError("invalid-request", `source: ${message}`);
}

/** `hf:owner/repo[@revision][/file]` as a URL; a folder's ends with a slash. The file is named as it is, not encoded. */
function onHub(source: string, hub: string): string {
  const match = HUB_FORM.exec(source);
  const [, owner = "", repository = "", revision = "main", file = ""] = match ?? [];
  const path = [owner, repository, "resolve", revision, ...file.split("/")];
  if (!match || path.some((part) => part === "." || part === "..") || /\p{Cs}/u.test(file)) {
    throw invalid(`found ${source.slice(0, 200)}, expected hf:owner/repo[@revision][/file]`);
  }
  return `${hub.endsWith("/") ? hub : `${hub}/`}${path.map(encodeURIComponent).join("/")}`;
}

/** The path of another part. */
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

function describeUrl(text: string, base: string | undefined): SourceDescription {
  let url: URL;
  try {
    url = new URL(text, base);
  } catch {
    throw invalid(`found ${text.slice(0, 200)}, expected ${NONSENSE}`);
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw invalid(
      `found the scheme ${url.protocol}, expected http: or https: (pass a File for local data)`,
    );
  }
  url.hash = "";
  // Any part stands for all, and so does the first.
  if (PART.test(url.pathname)) url.pathname = partPath(url.pathname, 1);
  const name = lastSegment(url.pathname);
  if (/\.gguf$/i.test(url.pathname)) return { kind: "file-url", url: url.href, name };
  if (/\.safetensors(\.index\.json)?$/i.test(url.pathname)) {
    throw invalid(
      `found the single file ${name}, expected the URL of its folder (config.json and tokenizer.json belong to it)`,
    );
  }
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return { kind: "folder-url", url: url.href, name };
}

/** The name of a folder of files: what its paths have in common, else the first file's. */
function folderName(files: readonly File[]): string {
  return files[0]?.webkitRelativePath?.split("/")[0] || files[0]?.name || "model";
}

/** Reads a source; relative URLs are relative to the page, `hf:` ones to the hub. Throws `invalid-request`. */
export function describeSource(source: ModelSource, hubUrl: string | URL = HUB): SourceDescription {
  const base = typeof document === "undefined" ? undefined : document.baseURI;
  if (typeof source === "string") {
    if (!source.startsWith("hf:")) return describeUrl(source, base);
    const description = describeUrl(onHub(source, String(hubUrl)), base);
    if (description.kind === "folder-url") description.name = source.slice(3);
    return description;
  }
  if (source instanceof URL) return describeUrl(source.href, base);
  if (typeof File !== "undefined") {
    if (source instanceof File) return { kind: "files", files: [source], name: source.name };
    if (
      Array.isArray(source) &&
      source.length > 0 &&
      source.every((file) => file instanceof File)
    ) {
      return { kind: "files", files: [...source], name: folderName(source) };
    }
  }
  throw invalid(`expected ${NONSENSE}`);
}
