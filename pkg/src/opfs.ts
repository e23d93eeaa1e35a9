/** The origin private file system, as far as it is used: folders, whole small files, exclusive handles. */

import { TabLMError } from "./errors.js";

/** A sync access handle; workers only, so the DOM types do not have it. */
export interface SyncHandle {
  read(buffer: Uint8Array, options?: { at: number }): number;
  write(buffer: Uint8Array, options?: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

interface WorkerFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle?(options?: { mode: "readwrite" | "read-only" }): Promise<SyncHandle>;
}

const RETRIES = 20;
const RETRY_MS = 100;

/** Our folder, or `null` where this browser or mode has no such storage. */
export async function ownFolder(): Promise<FileSystemDirectoryHandle | null> {
  try {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("tablm", { create: true });
    return "createSyncAccessHandle" in FileSystemFileHandle.prototype ? folder : null;
  } catch {
    return null;
  }
}

/** The folder models are kept in, or `null` likewise. */
export async function modelsFolder(): Promise<FileSystemDirectoryHandle | null> {
  try {
    return (await (await ownFolder())?.getDirectoryHandle("models", { create: true })) ?? null;
  } catch {
    return null;
  }
}

/** Whether an entry is missing, which is no error. */
function isNotFound(error: unknown): boolean {
  return (error as { name?: unknown } | null)?.name === "NotFoundError";
}

/** A subfolder, or `null`. */
export async function subfolder(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<FileSystemDirectoryHandle | null> {
  try {
    return await folder.getDirectoryHandle(name);
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}

/** A file's text, or `null`. */
export async function readText(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<string | null> {
  try {
    return await (await (await folder.getFileHandle(name)).getFile()).text();
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}

/**
 * Opens a file for itself. A worker that was just ended may still hold it for a moment, so
 * this waits up to two seconds.
 */
export async function openForWriting(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<SyncHandle> {
  const file = (await folder.getFileHandle(name, { create: true })) as WorkerFileHandle;
  if (!file.createSyncAccessHandle)
    throw new TabLMError("internal", "this browser has no sync access handles");
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      if (
        (error as { name?: unknown }).name !== "NoModificationAllowedError" ||
        attempt === RETRIES
      )
        throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Writes a small file whole. */
export async function writeText(
  folder: FileSystemDirectoryHandle,
  name: string,
  text: string,
): Promise<void> {
  const handle = await openForWriting(folder, name);
  try {
    const bytes = new TextEncoder().encode(text);
    handle.truncate(0);
    handle.write(bytes, { at: 0 });
    handle.flush();
  } finally {
    handle.close();
  }
}

/** Removes an entry with all it holds; absence is no error. */
export async function remove(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  try {
    await folder.removeEntry(name, { recursive: true });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** A stored file read in pieces; several tabs may read the same one. */
export interface StoredReader {
  sizeBytes: number;
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>;
  /** Fills `bytes` at once, where storage can: no copy on the way. */
  readInto?(bytes: Uint8Array, offset: number): void;
  close(): void;
}

/**
 * Opens a stored file for reading, by a shared sync handle where the browser has such
 * handles, else as a Blob. `null` where the file is missing.
 */
export async function openForReading(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<StoredReader | null> {
  let file: WorkerFileHandle;
  try {
    file = (await folder.getFileHandle(name)) as WorkerFileHandle;
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
  try {
    const handle = await file.createSyncAccessHandle?.({ mode: "read-only" });
    if (handle) return syncReader(name, handle);
  } catch {
    // Held exclusively by another tab: the Blob below reads it all the same.
  }
  return blobReader(name, await file.getFile());
}

function checkPiece(name: string, offset: number, length: number, sizeBytes: number): void {
  const right =
    Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (right && offset + length <= sizeBytes) return;
  throw new TabLMError(
    "malformed",
    `${name}: a read of ${length} bytes at ${offset}, the file has ${sizeBytes}`,
  );
}

function syncReader(name: string, handle: SyncHandle): StoredReader {
  const sizeBytes = handle.getSize();
  const readInto = (bytes: Uint8Array, offset: number): void => {
    checkPiece(name, offset, bytes.length, sizeBytes);
    const found = handle.read(bytes, { at: offset });
    if (found === bytes.length) return;
    throw new TabLMError(
      "integrity",
      `${name}: storage gave ${found} bytes at ${offset}, expected ${bytes.length}`,
    );
  };
  const read = (offset: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    readInto(bytes, offset);
    return bytes;
  };
  return { sizeBytes, read, readInto, close: () => handle.close() };
}

/** A Blob (a File in hand, a stored file, or a download kept in memory) read in pieces. */
export function blobReader(name: string, blob: Blob): StoredReader {
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    checkPiece(name, offset, length, blob.size);
    try {
      return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
    } catch (error) {
      throw new TabLMError(
        "network",
        `${name}: reading ${length} bytes at ${offset} failed (${(error as Error).message})`,
      );
    }
  };
  return { sizeBytes: blob.size, read, close: () => undefined };
}

/** What the origin may store, as far as the browser says. */
export async function storageEstimate(): Promise<{
  quotaBytes: number | null;
  usageBytes: number | null;
}> {
  try {
    const { quota, usage } = await navigator.storage.estimate();
    return { quotaBytes: quota ?? null, usageBytes: usage ?? null };
  } catch {
    return { quotaBytes: null, usageBytes: null };
  }
}
