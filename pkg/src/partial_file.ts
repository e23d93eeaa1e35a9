/** A file that is still being written to storage, readable as far as it has arrived. */

import { TabLMError } from "./errors.js";
import type { SyncHandle } from "./opfs.js";
import type { SourceFile } from "./wasm/simd/tablm.js";

/** A source file behind a handle that a download writes; reads wait for bytes that are missing. */
export class PartialFile implements SourceFile {
  #arrivedBytes = 0;
  #isClosed = false;
  #waiting: (() => void)[] = [];

  constructor(
    readonly name: string,
    readonly sizeBytes: number,
    private handle: SyncHandle,
  ) {}

  /** Sets how many bytes are written, and resumes the reads that can go on. */
  arrived(bytes: number): void {
    this.#arrivedBytes = bytes;
    this.#wake();
  }

  /** Rejects all reads from now on; called before the handle is closed. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  #wake(): void {
    this.#waiting.splice(0).forEach((resolve) => resolve());
  }

  /** Reads bytes at an offset as soon as they are there. Throws `network` once closed. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const end = Math.min(offset + length, this.sizeBytes);
    while (!this.#isClosed && end > this.#arrivedBytes)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#isClosed)
      throw new TabLMError("network", `${this.name}: the download ended before it could be read`);
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, this.handle.read(bytes, { at: offset }));
  }
}
