/**
 * Saved sessions: their bytes in memory, and those stored in this origin, one file each. A file
 * takes the place of an earlier one when it is complete.
 */

import { errorName, TabLMError, throwIfAborted } from "./errors.js";
import type { SessionReport } from "./generated.js";
import { checkRoom, storageFull, withLock } from "./model_store.js";
import {
  blobReader,
  openForReading,
  openForWriting,
  ownFolder,
  remove,
  type StoredReader,
} from "./opfs.js";
import type { StoredSession } from "./types.js";
import type { Engine, SourceFile } from "./wasm/simd/tablm.js";

/** End of the name of a stored session. */
const SUFFIX = ".session";
/** End of the name of a session that is being written. */
const PARTIAL = ".partial";
/** Bytes that are written at a time. */
const PIECE_BYTES = 4 << 20;

/** A file that can be renamed within its folder; the DOM types lack this method. */
interface MovableFile extends FileSystemFileHandle {
  move(name: string): Promise<void>;
}

/** Bytes that are put together piece by piece, outside of the memory of JavaScript. */
export class GrowingBlob {
  #blobs: Blob[] = [];
  #pieces: Uint8Array<ArrayBuffer>[] = [];
  #pendingBytes = 0;

  /** Appends bytes, which must not change afterwards. */
  append(bytes: Uint8Array): void {
    this.#pieces.push(bytes as Uint8Array<ArrayBuffer>);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= PIECE_BYTES) this.#flush();
  }

  /** All bytes so far. */
  blob(): Blob {
    this.#flush();
    return new Blob(this.#blobs);
  }

  #flush(): void {
    this.#blobs.push(new Blob(this.#pieces));
    [this.#pieces, this.#pendingBytes] = [[], 0];
  }
}

/** Bytes as a file that the engine reads. */
export function blobFile(name: string, blob: Blob): SourceFile {
  return { ...blobReader(name, blob), name };
}

/** The folder of the stored sessions. Throws `storage-full` where there is no such storage. */
async function sessionsFolder(): Promise<FileSystemDirectoryHandle> {
  const own = await ownFolder();
  if (own) return own.getDirectoryHandle("sessions", { create: true });
  throw new TabLMError(
    "storage-full",
    "sessions: found no storage of this origin, expected the origin private file system",
  );
}

/** Writes a session; quotas and failures leave the one that was stored before. */
async function store(id: string, blob: Blob, signal: AbortSignal): Promise<void> {
  const folder = await sessionsFolder();
  const [name, partial] = [`session ${id}`, id + PARTIAL];
  await checkRoom(name, blob.size);
  const handle = await openForWriting(folder, partial);
  try {
    handle.truncate(0);
    for (let at = 0; at < blob.size; at += PIECE_BYTES) {
      const piece = new Uint8Array(await blob.slice(at, at + PIECE_BYTES).arrayBuffer());
      throwIfAborted(signal);
      if (handle.write(piece, { at }) !== piece.length)
        throw new DOMException("short write", "QuotaExceededError");
    }
    handle.flush();
    handle.close();
    const file = (await folder.getFileHandle(partial)) as MovableFile;
    await file.move(id + SUFFIX);
  } catch (error) {
    handle.close();
    await remove(folder, partial).catch(() => undefined);
    throw errorName(error) === "QuotaExceededError" ? await storageFull(name, blob.size) : error;
  }
}

/** Saves the conversation of an engine, and stores it if it is given an identifier. */
export async function saveSession(
  engine: Engine,
  id: string | null,
  kvFormat: string | undefined,
  signal: AbortSignal,
): Promise<Blob> {
  const bytes = new GrowingBlob();
  await engine.saveSession(kvFormat, (piece) => {
    throwIfAborted(signal);
    bytes.append(piece);
  });
  const blob = bytes.blob();
  if (id !== null) await withLock(`session:${id}`, signal, () => store(id, blob, signal));
  return blob;
}

/** Opens a stored session. Throws `invalid-request` if there is none. */
async function openSession(id: string): Promise<StoredReader> {
  const reader = await openForReading(await sessionsFolder(), id + SUFFIX);
  if (reader) return reader;
  throw new TabLMError("invalid-request", `id: found ${id}, expected the id of a stored session`);
}

/** Continues from a session, stored or given as bytes; returns its number of tokens. */
export async function restoreSession(
  engine: Engine,
  saved: string | Blob,
  signal: AbortSignal,
): Promise<number> {
  const isStored = typeof saved === "string";
  const reader = isStored ? await openSession(saved) : blobReader("session", saved);
  const name = isStored ? `session ${saved}` : "session";
  try {
    return await engine.restoreSession({
      name,
      sizeBytes: reader.sizeBytes,
      read(offset, length) {
        throwIfAborted(signal);
        return reader.read(offset, length);
      },
    });
  } finally {
    reader.close();
  }
}

/** Lists the stored sessions, the latest first. */
export async function listSessions(engine: Engine): Promise<StoredSession[]> {
  const list: StoredSession[] = [];
  for await (const entry of (await sessionsFolder()).values()) {
    if (entry.kind !== "file" || !entry.name.endsWith(SUFFIX)) continue;
    const file = await (entry as FileSystemFileHandle).getFile();
    const id = entry.name.slice(0, -SUFFIX.length);
    list.push({
      ...(await describe(engine, blobFile(`session ${id}`, file))),
      id,
      sizeBytes: file.size,
      savedAt: file.lastModified,
    });
  }
  return list.sort((a, b) => b.savedAt - a.savedAt);
}

/** The engine's report of a session; its problem if it cannot be read. */
async function describe(engine: Engine, file: SourceFile): Promise<SessionReport> {
  try {
    return JSON.parse(await engine.describeSession(file)) as SessionReport;
  } catch (error) {
    return { model: "", tokens: 0, problem: (error as Error).message };
  }
}

/** Deletes a stored session; returns false if there was none. */
export async function deleteSession(id: string): Promise<boolean> {
  const folder = await sessionsFolder();
  await remove(folder, id + PARTIAL);
  const reader = await openForReading(folder, id + SUFFIX);
  reader?.close();
  await remove(folder, id + SUFFIX);
  return reader !== null;
}
