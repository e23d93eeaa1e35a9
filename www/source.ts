/** What a visitor typed, as a source of a model; or why it is none, in words that help. */

import { TabLM, type ModelSource } from "tablm";

const HUB_PAGE = /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)\/(.+)$/i;
const EXAMPLE = "hf:owner/repository/file.gguf";

/** A part of an address as it reads. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The hub's address in its short form: of a repository, or of a file in it as its page shows it. */
function fromHubPage(path: string): string {
  const [owner, repository, kind, revision, ...file] = path
    .replace(/[?#].*$/, "")
    .split("/")
    .filter(Boolean)
    .map(decoded);
  if (!owner || !repository || owner === "datasets" || owner === "spaces")
    throw new Error(`That page of the hub is no model. Expected ${EXAMPLE}`);
  const isFile = (kind === "blob" || kind === "resolve" || kind === "tree") && revision;
  const at = isFile && revision !== "main" ? `@${revision}` : "";
  return `hf:${owner}/${repository}${at}${isFile && file.length > 0 ? `/${file.join("/")}` : ""}`;
}

/** Reads what was typed: `hf:…`, `owner/repository`, a page of the hub, or an address on this site. */
export function readSource(typed: string): string {
  const text = typed.trim();
  if (text === "")
    throw new Error(`Name a model: ${EXAMPLE}, or the address of its page on the hub.`);
  const page = HUB_PAGE.exec(text);
  if (page?.[1]) return fromHubPage(page[1]);
  if (text.startsWith("hf:")) {
    try {
      TabLM.resolve(text);
      return text;
    } catch {
      throw new Error(`“${text}” is not of the form ${EXAMPLE}.`);
    }
  }
  if (/^[\w.-]+\/[\w.-]+(\/.+\.gguf)?$/.test(text) && !text.startsWith("models/"))
    return `hf:${text}`;
  if (/\s/.test(text) || !/[/.]/.test(text))
    throw new Error(
      `“${text}” is no address. Expected ${EXAMPLE}, or the address of a model’s page on the hub.`,
    );
  let url: URL;
  try {
    url = new URL(text, document.baseURI);
  } catch {
    throw new Error(`“${text}” is no address. Expected ${EXAMPLE}.`);
  }
  if (url.origin === location.origin) return url.href;
  throw new Error(
    `This page may fetch models from its own site and from huggingface.co, not from ${url.host}. Download the file there, and open it below.`,
  );
}

/** The name to show before a model is there. */
export function nameOf(source: ModelSource): string {
  const path =
    source instanceof File
      ? source.name
      : typeof source === "string" || source instanceof URL
        ? String(source)
        : source[0]?.webkitRelativePath || source[0]?.name || "";
  return (path.split("/").filter(Boolean).at(-1) ?? path).replace(/\.gguf$/i, "");
}
