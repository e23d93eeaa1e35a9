/**
 * Access to the origin private file system: folders, small text files, and handles for large files.
 */

import { errorName, TabLMError } from "./errors.js";

/** A sync access handle. The DOM types lack it, as only workers have it. */
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

/** Number of retries to open a file that another worker holds, and milliseconds between them. */
const RETRIES = 20;
const RETRY_MS = 100;

/** The package's folder; `null` where this browser or mode has no such storage. */
export async function ownFolder(): Promise<FileSystemDirectoryHandle | null> {
  try {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("tablm", { create: true });
    return "createSyncAccessHandle" in FileSystemFileHandle.prototype ? folder : null;
  } catch {
    return null;
  }
}

/** The folder of the stored models; `null` where there is no such storage. */
export async function modelsFolder(): Promise<FileSystemDirectoryHandle | null> {
  try {
    return (await (await ownFolder())?.getDirectoryHandle("models", { create: true })) ?? null;
  } catch {
    return null;
  }
}

/** True for the error of a missing entry. */
function isNotFound(error: unknown): boolean {
  return errorName(error) === "NotFoundError";
}

/** A subfolder; `null` if it does not exist. */
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

/** A file's text; `null` if it does not exist. */
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
 * Opens a file exclusively, creating it if needed. A worker that has just ended may still hold it,
 * so this tries for two seconds.
 */
export async function openForWriting(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<SyncHandle> {
  const file = (await folder.getFileHandle(name, { create: true })) as WorkerFileHandle;
  if (!file.createSyncAccessHandle)
    throw new TabLMError("internal", "found no sync access handles in this browser");
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      if (errorName(error) !== "NoModificationAllowedError" || attempt === RETRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Replaces a file by a text. */
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

/** Removes a file or a folder with its contents, if it exists. */
export async function remove(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  try {
    await folder.removeEntry(name, { recursive: true });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** A stored file, read in pieces; several tabs can read the same file. */
export interface StoredReader {
  sizeBytes: number;
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>;
  /** Fills `bytes` without a copy; absent where storage is asynchronous. */
  readInto?(bytes: Uint8Array, offset: number): void;
  close(): void;
}

/**
 * Opens a stored file for reading: by a shared sync handle where the browser has those, else as a
 * Blob. Returns `null` if the file does not exist.
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
    // Another tab has an exclusive handle; a Blob can still read the file.
  }
  return blobReader(name, await file.getFile());
}

function checkPiece(name: string, offset: number, length: number, sizeBytes: number): void {
  const isRange =
    Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (isRange && offset + length <= sizeBytes) return;
  throw new TabLMError(
    "malformed",
    `${name}: found a read of ${length} bytes at ${offset}, expected at most ${sizeBytes} bytes`,
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
      `${name}: found ${found} bytes in storage at ${offset}, expected ${bytes.length}`,
    );
  };
  const read = (offset: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    readInto(bytes, offset);
    return bytes;
  };
  return { sizeBytes, read, readInto, close: () => handle.close() };
}

/** Reads a Blob in pieces: a user's File, a stored file, or a download in memory. */
export function blobReader(name: string, blob: Blob): StoredReader {
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    checkPiece(name, offset, length, blob.size);
    try {
      return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
    } catch (error) {
      throw new TabLMError(
        "network",
        `${name}: could not read ${length} bytes at ${offset} (${(error as Error).message})`,
      );
    }
  };
  return { sizeBytes: blob.size, read, close: () => undefined };
}

/** Quota and usage of the origin's storage; `null` where the browser does not tell. */
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
