/**
 * Models stored in this origin: downloaded once into the origin private file system, then read in
 * pieces, listed, verified and deleted.
 *
 * Each model has a folder, named by the hash of its source. The manifest lists a file once all its
 * bytes are written, and is `complete` once it lists all files. A connection that breaks is
 * continued; a download that ends with its tab starts again from the file's first byte.
 */

import {
  downloadFile,
  hashPieces,
  hashText,
  type Downloaded,
  type DownloadOptions,
  type RemoteFile,
  type Sink,
} from "./download.js";
import { errorName, TabLMError, throwIfAborted } from "./errors.js";
import type { Meter } from "./meter.js";
import {
  blobReader,
  modelsFolder,
  openForReading,
  openForWriting,
  readText,
  remove,
  storageEstimate,
  subfolder,
  writeText,
  type StoredReader,
} from "./opfs.js";
import { PartialFile } from "./partial_file.js";
import { openRemote, remoteFiles, remoteLength } from "./remote.js";
import type { ConcreteSource, NamedFile } from "./source.js";
import type { StoredModel, VerifyReport } from "./types.js";
import type { SourceFile } from "./wasm/simd/tablm.js";

interface ManifestFile {
  name: string;
  storedAs: string;
  sizeBytes: number;
  sha256: string;
}

interface Manifest {
  version: 1;
  source: string;
  complete: boolean;
  files: ManifestFile[];
}

/** Files of a model, open for reading. */
export interface OpenedModel {
  files: SourceFile[];
  /** Bytes that a load would have to download first. */
  missingBytes: number;
  stored: boolean;
  close(): void;
  /** Marks the stored copy as invalid, so that the next load downloads it again. */
  discard(): Promise<void>;
}

/** Receives the files of a model whose last one is still being downloaded. */
export type OnPartialModel = (files: SourceFile[]) => void;

const MANIFEST = "manifest.json";

/** Name of a model's folder. */
function modelId(source: string): string {
  return hashText(source).slice(0, 16);
}

function isManifestFile(value: unknown): value is ManifestFile {
  const file = value as Partial<ManifestFile> | null;
  return (
    typeof file?.name === "string" &&
    typeof file.storedAs === "string" &&
    /^\d+\.bin$/.test(file.storedAs) &&
    Number.isSafeInteger(file.sizeBytes) &&
    typeof file.sha256 === "string"
  );
}

/** The manifest of a folder; `null` if there is none or it is invalid. */
async function readManifest(folder: FileSystemDirectoryHandle): Promise<Manifest | null> {
  const text = await readText(folder, MANIFEST);
  if (text === null) return null;
  try {
    const value = JSON.parse(text) as Manifest;
    const isManifest =
      value.version === 1 && typeof value.source === "string" && Array.isArray(value.files);
    return isManifest && value.files.every(isManifestFile) ? value : null;
  } catch {
    return null;
  }
}

function opened(
  files: { name: string; reader: StoredReader }[],
  stored: boolean,
  discard: () => Promise<void> = async () => undefined,
): OpenedModel {
  return {
    files: files.map(({ name, reader }) => ({ ...reader, name })),
    missingBytes: 0,
    stored,
    close: () => files.forEach(({ reader }) => reader.close()),
    discard,
  };
}

/** Opens the files of a complete model; `null` if one is missing or has another length. */
async function openStored(
  folder: FileSystemDirectoryHandle,
  manifest: Manifest,
): Promise<OpenedModel | null> {
  const files: { name: string; reader: StoredReader }[] = [];
  for (const file of manifest.files) {
    const reader = await openForReading(folder, file.storedAs);
    if (reader) files.push({ name: file.name, reader });
    if (reader?.sizeBytes === file.sizeBytes) continue;
    files.forEach(({ reader: open }) => open.close());
    return null;
  }
  return opened(files, true, () => remove(folder, MANIFEST));
}

/** Runs a job while no other tab runs one for the same model. */
export async function withLock<T>(
  id: string,
  signal: AbortSignal,
  job: () => Promise<T>,
): Promise<T> {
  if (!("locks" in navigator)) return job();
  try {
    return await navigator.locks.request(`tablm:${id}`, { signal }, job);
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  }
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;

/** `storage-full` for a file, with what it needs and what there is. */
export async function storageFull(name: string, neededBytes: number | null): Promise<TabLMError> {
  const { quotaBytes, usageBytes } = await storageEstimate();
  const needed = neededBytes === null ? "more room" : mebibytes(neededBytes);
  const free =
    quotaBytes === null || usageBytes === null
      ? "too little"
      : mebibytes(Math.max(0, quotaBytes - usageBytes));
  return new TabLMError(
    "storage-full",
    `${name}: needs ${needed}, ${free} available in this origin's storage`,
  );
}

/** Throws `storage-full` for a file that cannot fit, before a byte of it is stored. */
export async function checkRoom(name: string, sizeBytes: number | null): Promise<void> {
  const { quotaBytes, usageBytes } = await storageEstimate();
  if (sizeBytes === null || quotaBytes === null || usageBytes === null) return;
  if (sizeBytes > quotaBytes - usageBytes) throw await storageFull(name, sizeBytes);
}

/** Progress of downloading all files of a model. */
class Tally {
  #done = 0;

  constructor(
    private meter: Meter,
    private totalBytes: number | null,
  ) {}

  /** Reports progress within one file; the total of a model of one file is that file's length. */
  progress(name: string, loadedBytes: number, fileBytes: number | null, isOnly: boolean): void {
    this.meter.report(
      "download",
      name,
      this.#done + loadedBytes,
      isOnly ? fileBytes : this.totalBytes,
    );
  }

  finish(sizeBytes: number): void {
    this.#done += sizeBytes;
  }
}

/** Bytes of all required files; `null` if the server does not tell. */
async function totalLength(files: RemoteFile[], signal: AbortSignal): Promise<number | null> {
  let total = 0;
  for (const file of files) {
    if (file.optional) continue;
    const length = await remoteLength(file.url, signal).catch(() => {
      throwIfAborted(signal);
      // The download of this file reports the failure.
      return null;
    });
    if (length === null) return null;
    total += length;
  }
  return total;
}

/** Downloads a file into storage; `null` for an optional file that the server does not have. */
async function storeFile(
  folder: FileSystemDirectoryHandle,
  storedAs: string,
  file: RemoteFile,
  signal: AbortSignal,
  onBytes: (loadedBytes: number, totalBytes: number | null) => void,
  onPartialFile: (file: SourceFile) => void,
): Promise<Downloaded | null> {
  const handle = await openForWriting(folder, storedAs);
  let needed: number | null = null;
  let partial: PartialFile | undefined;
  try {
    handle.truncate(0);
    let offset = 0;
    const sink: Sink = {
      write(piece) {
        const written = handle.write(piece, { at: offset });
        if (written !== piece.length) throw new DOMException("short write", "QuotaExceededError");
        offset += written;
        partial?.advance(offset);
      },
      restart() {
        offset = 0;
        // With a known size, the same bytes follow again, and readers keep what they have.
        if (needed === null) handle.truncate(0);
      },
    };
    const onHead = async (head: { sizeBytes: number | null }): Promise<void> => {
      needed = head.sizeBytes;
      await checkRoom(file.name, needed);
      if (needed === null) return;
      partial = new PartialFile(file.name, needed, handle);
      onPartialFile(partial);
    };
    const downloaded = await downloadFile(file, sink, { signal, onHead, onBytes });
    partial?.close();
    handle.flush();
    handle.close();
    if (!downloaded) await remove(folder, storedAs);
    return downloaded;
  } catch (error) {
    partial?.close();
    handle.close();
    const isFull = errorName(error) === "QuotaExceededError";
    const full = isFull ? await storageFull(file.name, needed) : null;
    await remove(folder, storedAs).catch(() => undefined);
    throw full ?? error;
  }
}

/** A stored file, read as a Blob, because a handle would prevent others from opening it. */
async function storedFile(
  folder: FileSystemDirectoryHandle,
  { name, storedAs }: ManifestFile,
): Promise<SourceFile> {
  const file = await (await folder.getFileHandle(storedAs)).getFile();
  return { ...blobReader(name, file), name };
}

/** Downloads the files of a model that are missing, and marks it complete. */
async function fillFolder(
  folder: FileSystemDirectoryHandle,
  source: ConcreteSource & { url: string },
  earlier: Manifest | null,
  signal: AbortSignal,
  meter: Meter,
  onPartialModel: OnPartialModel,
): Promise<void> {
  meter.report("download", source.name, 0, null);
  const manifest: Manifest = { version: 1, source: source.url, complete: false, files: [] };
  const files = await remoteFiles(source, signal);
  const total = files.length === 1 ? null : await totalLength(files, signal);
  const keptBytes = earlier?.files.reduce((sum, file) => sum + file.sizeBytes, 0) ?? 0;
  await checkRoom(source.name, total === null ? null : total - keptBytes);
  const tally = new Tally(meter, total);
  for (const [index, file] of files.entries()) {
    throwIfAborted(signal);
    const storedAs = `${index}.bin`;
    const kept = earlier?.files.find(
      (entry) => entry.name === file.name && entry.storedAs === storedAs,
    );
    const reader = kept ? await openForReading(folder, storedAs) : null;
    reader?.close();
    if (kept && reader?.sizeBytes === kept.sizeBytes) {
      manifest.files.push(kept);
      tally.finish(kept.sizeBytes);
      continue;
    }
    const isLast = index === files.length - 1;
    const others = isLast
      ? await Promise.all(manifest.files.map((other) => storedFile(folder, other)))
      : [];
    const downloaded = await storeFile(
      folder,
      storedAs,
      file,
      signal,
      (loadedBytes, totalBytes) =>
        tally.progress(file.name, loadedBytes, totalBytes, files.length === 1),
      (last) => isLast && onPartialModel([...others, last]),
    );
    if (!downloaded) continue;
    tally.finish(downloaded.sizeBytes);
    manifest.files.push({ name: file.name, storedAs, ...downloaded });
    await writeText(folder, MANIFEST, JSON.stringify(manifest));
  }
  await writeText(folder, MANIFEST, JSON.stringify({ ...manifest, complete: true }));
}

/**
 * Downloads a file into a Blob, which the browser may keep on disk; `null` for an optional file
 * that the server does not have.
 */
async function fileToMemory(
  file: RemoteFile,
  signal: AbortSignal,
  onBytes: DownloadOptions["onBytes"],
): Promise<StoredReader | null> {
  const pieces: BlobPart[] = [];
  const sink: Sink = {
    write: (piece) => void pieces.push(piece as Uint8Array<ArrayBuffer>),
    restart: () => void (pieces.length = 0),
  };
  const downloaded = await downloadFile(file, sink, { signal, onBytes });
  return downloaded && blobReader(file.name, new Blob(pieces));
}

/** Downloads a model into memory, where there is no storage. */
async function downloadToMemory(
  source: ConcreteSource,
  signal: AbortSignal,
  meter: Meter,
): Promise<OpenedModel> {
  const files = await remoteFiles(source, signal);
  const tally = new Tally(meter, files.length === 1 ? null : await totalLength(files, signal));
  const inMemory: { name: string; reader: StoredReader }[] = [];
  for (const file of files) {
    const reader = await fileToMemory(file, signal, (loaded, total) =>
      tally.progress(file.name, loaded, total, files.length === 1),
    );
    if (!reader) continue;
    tally.finish(reader.sizeBytes);
    inMemory.push({ name: file.name, reader });
  }
  return opened(inMemory, false);
}

function openFiles(files: NamedFile[]): OpenedModel {
  return opened(
    files.map(({ name, file }) => ({ name, reader: blobReader(name, file) })),
    false,
  );
}

/**
 * Opens a source for a load, downloading it first where it is not stored. `onPartialModel` receives
 * the files while the last one is being downloaded, to read the headers early.
 */
export async function openModel(
  source: ConcreteSource,
  signal: AbortSignal,
  meter: Meter,
  onPartialModel: OnPartialModel,
): Promise<OpenedModel> {
  if (source.kind === "files") return openFiles(source.files);
  const models = await modelsFolder();
  if (!models) return downloadToMemory(source, signal, meter);
  const id = modelId(source.url);
  return withLock(id, signal, async () => {
    const folder = await models.getDirectoryHandle(id, { create: true });
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const manifest = await readManifest(folder);
      const stored = manifest?.complete ? await openStored(folder, manifest) : null;
      if (stored) return stored;
      try {
        await fillFolder(folder, source, manifest, signal, meter, onPartialModel);
      } catch (error) {
        if ((await readManifest(folder)) === null) await remove(models, id).catch(() => undefined);
        throw error;
      }
    }
    throw new TabLMError("integrity", `${source.url}: storage lost files that were written to it`);
  });
}

/** Opens a source for its headers: the stored copy, else the server's files by range requests. */
export async function peekModel(source: ConcreteSource, signal: AbortSignal): Promise<OpenedModel> {
  if (source.kind === "files") return openFiles(source.files);
  const models = await modelsFolder();
  const folder = models && (await subfolder(models, modelId(source.url)));
  const manifest = folder && (await readManifest(folder));
  const stored = folder && manifest?.complete ? await openStored(folder, manifest) : null;
  if (stored) return stored;
  const files: SourceFile[] = [];
  for (const file of await remoteFiles(source, signal)) {
    // Text files are needed completely, and servers compress them, which prevents range requests.
    const isText = /\.(json|jinja)$/.test(file.name);
    const found = await (isText
      ? fileToMemory(file, signal, () => undefined)
      : openRemote(file, signal));
    if (found) files.push({ ...found, name: file.name });
  }
  const missingBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return {
    files,
    missingBytes,
    stored: false,
    close: () => undefined,
    discard: async () => undefined,
  };
}

function toStoredModel(id: string, manifest: Manifest | null): StoredModel {
  const files = (manifest?.files ?? []).map(({ name, sizeBytes, sha256 }) => ({
    name,
    sizeBytes,
    sha256,
  }));
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return {
    id,
    source: manifest?.source ?? "",
    complete: manifest?.complete ?? false,
    sizeBytes,
    files,
  };
}

/** Lists the models stored in this origin, complete and incomplete ones. */
export async function listModels(): Promise<StoredModel[]> {
  const models = await modelsFolder();
  if (!models) return [];
  const list: StoredModel[] = [];
  for await (const entry of models.values()) {
    if (entry.kind !== "directory") continue;
    list.push(toStoredModel(entry.name, await readManifest(entry as FileSystemDirectoryHandle)));
  }
  return list;
}

function checkId(id: unknown): asserts id is string {
  if (typeof id === "string" && /^[0-9a-f]{16}$/.test(id)) return;
  throw new TabLMError(
    "invalid-request",
    `id: found ${JSON.stringify(id)?.slice(0, 60)}, expected an id from TabLM.models.list()`,
  );
}

/** Deletes a stored model; resolves to false if there was none. */
export async function deleteModel(id: string): Promise<boolean> {
  checkId(id);
  const models = await modelsFolder();
  if (!models || !(await subfolder(models, id))) return false;
  try {
    await models.removeEntry(id, { recursive: true });
  } catch (error) {
    if (errorName(error) !== "NoModificationAllowedError") throw error;
    const text = `id: found ${id}, which this tab or another is loading`;
    throw new TabLMError("invalid-request", text, { cause: error });
  }
  return true;
}

/** Reads a stored model and compares its hashes with those of the download. */
export async function verifyModel(id: string, meter: Meter): Promise<VerifyReport> {
  checkId(id);
  const models = await modelsFolder();
  const folder = models && (await subfolder(models, id));
  const manifest = folder && (await readManifest(folder));
  if (!folder || !manifest)
    throw new TabLMError("invalid-request", `id: found ${id}, expected the id of a stored model`);
  const files: VerifyReport["files"] = [];
  for (const file of manifest.files) {
    const reader = await openForReading(folder, file.storedAs);
    meter.report("verify", file.name, 0, file.sizeBytes);
    const foundSha256 = reader ? await hashPieces(reader.sizeBytes, reader.read) : "";
    reader?.close();
    meter.report("verify", file.name, file.sizeBytes, file.sizeBytes);
    files.push({
      name: file.name,
      ok: foundSha256 === file.sha256,
      expectedSha256: file.sha256,
      foundSha256,
    });
  }
  return { id, ok: manifest.complete && files.every((file) => file.ok), files };
}
