/** Parses the model address that a visitor typed, with error messages that say what to type. */

import { TabLM, type ModelSource } from "tablm";

const HUB_PAGE = /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)\/(.+)$/i;
const EXAMPLE = "hf:owner/repository or hf:owner/repository/file.gguf";

/** Percent-decodes a part of an address; returns it as it is where that fails. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Converts the path of a repository's or a file's page on the hub to its `hf:` form. */
function fromHubPage(path: string): string {
  const [owner, repository, kind, revision, ...file] = path
    .replace(/[?#].*$/, "")
    .split("/")
    .filter(Boolean)
    .map(decode);
  if (!owner || !repository || owner === "datasets" || owner === "spaces")
    throw new Error(`That page of the hub is not a model’s. Expected ${EXAMPLE}`);
  const namesRevision = (kind === "blob" || kind === "resolve" || kind === "tree") && revision;
  const at = namesRevision && revision !== "main" ? `@${revision}` : "";
  const inside = namesRevision && file.length > 0 ? `/${file.join("/")}` : "";
  return `hf:${owner}/${repository}${at}${inside}`;
}

/**
 * Parses `hf:…`, `owner/repository`, the address of a page of the hub, or an address on this site.
 * Throws an `Error` for the visitor to read otherwise.
 */
export function parseModelSource(typed: string): string {
  const text = typed.trim();
  if (text === "") throw new Error(`Name a model: ${EXAMPLE}.`);
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
      `“${text}” is not an address. Expected ${EXAMPLE}, ` +
        "or the address of a model’s page on the hub.",
    );
  let url: URL;
  try {
    url = new URL(text, document.baseURI);
  } catch {
    throw new Error(`“${text}” is not an address. Expected ${EXAMPLE}.`);
  }
  if (url.origin === location.origin) return url.href;
  throw new Error(
    `This page may fetch models from its own site and from huggingface.co, not from ${url.host}. ` +
      "Download the file there, and open it below.",
  );
}

/** Returns the name to show for a model that is not loaded yet. */
export function modelName(source: ModelSource): string {
  const path =
    source instanceof File
      ? source.name
      : typeof source === "string" || source instanceof URL
        ? String(source)
        : source[0]?.webkitRelativePath || source[0]?.name || "";
  return (path.split("/").filter(Boolean).at(-1) ?? path).replace(/\.gguf$/i, "");
}
