/** Files of a remote source, and reading them in pieces by range requests. */

import { declaredLength, readAll, request, requestOptional, type RemoteFile } from "./download.js";
import { TabLMError, throwIfAborted } from "./errors.js";
import { inFolder, MODULE_FOLDER, PART, partPath, type ConcreteSource } from "./source.js";
import type { SourceFile } from "./wasm/simd/tablm.js";

const INDEX = "model.safetensors.index.json";
/** List of the modules of a model that sentence-transformers saved. */
const MODULES = "modules.json";
/** Maximum number of files of weights. */
const MAX_SHARDS = 1000;

/** Files of a safetensors folder that come before the weights. */
const FOLDER_FILES: readonly (Omit<RemoteFile, "url"> & { path?: string })[] = [
  { name: "config.json", optional: false },
  { name: "tokenizer.json", optional: false },
  { name: "tokenizer_config.json", optional: true },
  { name: "generation_config.json", optional: true },
  { name: "special_tokens_map.json", optional: true },
  { name: "chat_template.jinja", optional: true },
  { name: "chat_template.json", optional: true },
  { name: "tool_use.jinja", path: "additional_chat_templates/tool_use.jinja", optional: true },
];

/** Path of a safetensors file below its folder, without `.` segments; `null` for other values. */
function pathBelow(path: unknown): string | null {
  const segments =
    typeof path === "string" ? path.split("/").filter((segment) => segment !== ".") : [];
  const isPath = segments.every((segment) => /^[\w.-]{1,200}$/.test(segment) && segment !== "..");
  return isPath && segments.at(-1)?.endsWith(".safetensors") ? segments.join("/") : null;
}

/** The value of a JSON text. Throws `malformed` for other texts. */
function parseJson(url: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TabLMError(
      "malformed",
      `${url}: found no JSON (${(error as Error).message}), expected an object`,
    );
  }
}

/** The list of modules of sentence-transformers and its files, if the folder has one. */
async function moduleFiles(folder: string, signal: AbortSignal): Promise<RemoteFile[]> {
  const file = (name: string, optional: boolean): RemoteFile => {
    return { name, url: inFolder(folder, name), optional };
  };
  const list = file(MODULES, false);
  const response = await requestOptional(list.url, signal);
  if (!response) return [];
  const modules = parseJson(list.url, await readAll(list.url, response, signal));
  const files = [
    list,
    file("config_sentence_transformers.json", true),
    file("sentence_bert_config.json", true),
  ];
  for (const module of Array.isArray(modules) ? (modules as unknown[]) : []) {
    const { path, type } = (module ?? {}) as { path?: unknown; type?: unknown };
    // The engine reports other paths.
    if (typeof path !== "string" || !MODULE_FOLDER.test(path)) continue;
    const [, kind] = /(Pooling|Dense)$/.exec(String(type)) ?? [];
    if (kind) files.push(file(`${path}/config.json`, false));
    if (kind === "Dense") files.push(file(`${path}/model.safetensors`, false));
  }
  return files;
}

/** The distinct paths of an index's shards. Throws `malformed` for paths that leave the folder. */
export function shardPaths(url: string, text: string): string[] {
  const map = (parseJson(url, text) as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null)
    throw new TabLMError("malformed", `${url}: weight_map: found none, expected an object`);
  const paths = new Set<string>();
  for (const path of new Set<unknown>(Object.values(map))) {
    const below = pathBelow(path);
    if (below === null) {
      throw new TabLMError(
        "malformed",
        `${url}: weight_map: found ${JSON.stringify(path)?.slice(0, 80)}, ` +
          "expected a .safetensors file below the folder",
      );
    }
    paths.add(below);
    if (paths.size > MAX_SHARDS) break;
  }
  if (paths.size > 0 && paths.size <= MAX_SHARDS) return [...paths];
  throw new TabLMError(
    "malformed",
    `${url}: weight_map: found ${paths.size === 0 ? 0 : "more"} files, expected 1 to ${MAX_SHARDS}`,
  );
}

/** The file of a URL, or all parts of a file in parts. */
function filesOf(source: { url: string; name: string }): RemoteFile[] {
  const count = Number(PART.exec(source.name)?.[2] ?? 1);
  if (count < 1 || count > MAX_SHARDS)
    throw new TabLMError(
      "malformed",
      `${source.url}: name: found ${count} parts, expected 1 to ${MAX_SHARDS}`,
    );
  return Array.from({ length: count }, (_, index) => {
    const url = new URL(source.url);
    url.pathname = partPath(url.pathname, index + 1);
    return { name: partPath(source.name, index + 1), url: url.href, optional: false };
  });
}

/** The files of a remote source, in download order. */
export async function remoteFiles(
  source: ConcreteSource,
  signal: AbortSignal,
): Promise<RemoteFile[]> {
  if (source.kind === "files") return [];
  if (source.kind === "file-url") return filesOf(source);
  const files = FOLDER_FILES.map(({ path, ...file }) => ({
    ...file,
    url: inFolder(source.url, path ?? file.name),
  }));
  files.push(...(await moduleFiles(source.url, signal)));
  const indexUrl = inFolder(source.url, INDEX);
  const index = await requestOptional(indexUrl, signal);
  if (!index)
    return [
      ...files,
      {
        name: "model.safetensors",
        url: inFolder(source.url, "model.safetensors"),
        optional: false,
      },
    ];
  const shards = shardPaths(indexUrl, await readAll(indexUrl, index, signal));
  return [
    ...files,
    { name: INDEX, url: indexUrl, optional: false },
    ...shards.map((path) => ({
      name: path.slice(path.lastIndexOf("/") + 1),
      url: inFolder(source.url, path),
      optional: false,
    })),
  ];
}

/** Length of a remote file; `null` where the server does not tell. */
export async function remoteLength(url: string, signal: AbortSignal): Promise<number | null> {
  const response = await request(url, { method: "HEAD", signal }).catch(() => {
    throwIfAborted(signal);
    // Some servers refuse HEAD, and so do URLs that are signed for GET.
    return request(url, { signal });
  });
  const length = declaredLength(response);
  await response.body?.cancel();
  return length;
}

/** Opens a remote file for range requests, to read headers alone. */
export async function openRemote(file: RemoteFile, signal: AbortSignal): Promise<SourceFile> {
  const sizeBytes = await remoteLength(file.url, signal);
  if (sizeBytes === null)
    throw new TabLMError("network", `${file.url}: found no content-length, expected one`);
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const end = Math.min(offset + length, sizeBytes);
    if (offset < 0 || end <= offset) return new Uint8Array(0);
    const response = await request(file.url, {
      headers: { Range: `bytes=${offset}-${end - 1}` },
      signal,
    });
    if (response.status !== 206) {
      await response.body?.cancel();
      throw new TabLMError(
        "network",
        `${file.url}: found status ${response.status}, expected 206 (no range requests)`,
      );
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length === end - offset) return bytes;
    throw new TabLMError(
      "network",
      `${file.url}: found ${bytes.length} bytes, expected ${end - offset}`,
    );
  };
  return { name: file.name, sizeBytes, read };
}
