/** Which files a remote source has, and reading pieces of them where they are. */

import { isHtml, promisedLength, request } from "./download.js";
import { TabLMError } from "./errors.js";
import type { SourceDescription } from "./source.js";
import type { SourceFile } from "./wasm/simd/tablm.js";

/** One file to fetch. */
export interface RemoteFile {
  name: string;
  url: string;
  /** Absence is no error. */
  optional: boolean;
}

const INDEX = "model.safetensors.index.json";
const MAX_SHARDS = 1000;
const MAX_INDEX_BYTES = 64 << 20;

/** The text files of a folder; the weights come after them. */
const FOLDER_FILES: readonly Omit<RemoteFile, "url">[] = [
  { name: "config.json", optional: false },
  { name: "tokenizer.json", optional: false },
  { name: "tokenizer_config.json", optional: true },
  { name: "generation_config.json", optional: true },
  { name: "chat_template.jinja", optional: true },
];

/** A file of the folder, keeping the query (tokens of signed URLs). */
function inFolder(folder: string, name: string): string {
  const url = new URL(folder);
  url.pathname += encodeURIComponent(name);
  return url.href;
}

/** A response for an optional file, or `null` where the server has none. */
async function requestOptional(url: string, init: RequestInit): Promise<Response | null> {
  try {
    const response = await request(url, init);
    // Servers of single-page sites answer everything unknown with their page.
    if (!isHtml(response)) return response;
    await response.body?.cancel();
    return null;
  } catch (error) {
    if (error instanceof TabLMError && /found status (401|403|404|410)\b/.test(error.message)) return null;
    throw error;
  }
}

/** Whether an optional file is there. */
export async function exists(url: string, signal: AbortSignal): Promise<boolean> {
  return (await requestOptional(url, { method: "HEAD", signal })) !== null;
}

/** The shard names of an index, each once; names that would leave the folder are refused. */
export function shardNames(url: string, text: string): string[] {
  let map: unknown;
  try {
    map = (JSON.parse(text) as { weight_map?: unknown }).weight_map;
  } catch (error) {
    throw new TabLMError("malformed", `${url}: not JSON (${(error as Error).message})`);
  }
  if (typeof map !== "object" || map === null) throw new TabLMError("malformed", `${url}: weight_map: expected an object`);
  const names = [...new Set(Object.values(map))];
  if (names.length === 0 || names.length > MAX_SHARDS) {
    throw new TabLMError("malformed", `${url}: weight_map: found ${names.length} files, expected 1 to ${MAX_SHARDS}`);
  }
  return names.map((name: unknown) => {
    if (typeof name === "string" && /^[\w.-]{1,200}\.safetensors$/.test(name)) return name;
    throw new TabLMError("malformed", `${url}: weight_map: found ${JSON.stringify(name)?.slice(0, 80)}, expected a .safetensors file name`);
  });
}

/** Every file of a remote source, in the order they are fetched. */
export async function remoteFiles(source: SourceDescription, signal: AbortSignal): Promise<RemoteFile[]> {
  if (source.kind === "files") return [];
  if (source.kind === "file-url") return [{ name: source.name, url: source.url, optional: false }];
  const files = FOLDER_FILES.map((file) => ({ ...file, url: inFolder(source.url, file.name) }));
  const indexUrl = inFolder(source.url, INDEX);
  const index = await requestOptional(indexUrl, { signal });
  if (!index) return [...files, { name: "model.safetensors", url: inFolder(source.url, "model.safetensors"), optional: false }];
  if ((promisedLength(index) ?? 0) > MAX_INDEX_BYTES) throw new TabLMError("malformed", `${indexUrl}: larger than ${MAX_INDEX_BYTES} bytes`);
  const shards = shardNames(indexUrl, await index.text());
  return [
    ...files,
    { name: INDEX, url: indexUrl, optional: false },
    ...shards.map((name) => ({ name, url: inFolder(source.url, name), optional: false })),
  ];
}

/** The length of a remote file, from a request for its head; `null` where the server does not say. */
export async function remoteLength(url: string, signal: AbortSignal): Promise<number | null> {
  const response = await request(url, { method: "HEAD", signal });
  return promisedLength(response);
}

/** A remote file read in pieces by range requests: for headers alone. */
export async function openRemote(file: RemoteFile, signal: AbortSignal): Promise<SourceFile> {
  const sizeBytes = await remoteLength(file.url, signal);
  if (sizeBytes === null) throw new TabLMError("network", `${file.url}: the server does not say how long the file is`);
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const end = Math.min(offset + length, sizeBytes);
    if (offset < 0 || end <= offset) return new Uint8Array(0);
    const response = await request(file.url, { headers: { Range: `bytes=${offset}-${end - 1}` }, signal });
    if (response.status !== 206) {
      await response.body?.cancel();
      throw new TabLMError("network", `${file.url}: found status ${response.status}, expected 206: the server cannot send a part of a file`);
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length === end - offset) return bytes;
    throw new TabLMError("network", `${file.url}: found ${bytes.length} bytes, expected ${end - offset}`);
  };
  return { name: file.name, sizeBytes, read };
}
