/** A file that is still being written to storage; its first part can already be read. */

import { TabLMError } from "./errors.js";
import type { SyncHandle } from "./opfs.js";
import type { SourceFile } from "./wasm/simd/tablm.js";

/** A source file that a download writes through `handle`; reads wait for missing bytes. */
export class PartialFile implements SourceFile {
  #writtenBytes = 0;
  #isClosed = false;
  #waiting: (() => void)[] = [];

  constructor(
    readonly name: string,
    readonly sizeBytes: number,
    private handle: SyncHandle,
  ) {}

  /** Sets the number of bytes written so far, and resumes waiting reads. */
  advance(writtenBytes: number): void {
    this.#writtenBytes = writtenBytes;
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

  /** Reads bytes at an offset as soon as they are written. Throws `network` once closed. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const end = Math.min(offset + length, this.sizeBytes);
    while (!this.#isClosed && end > this.#writtenBytes)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#isClosed)
      throw new TabLMError("network", `${this.name}: the download ended before it could be read`);
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, this.handle.read(bytes, { at: offset }));
  }
}
