/** A file that is still being stored, read as far as it is there: what has not arrived is waited for. */

import { TabLMError } from "./errors.js";
import type { SyncHandle } from "./opfs.js";
import type { SourceFile } from "./wasm/simd/tablm.js";

/** The file behind a handle that somebody else writes. */
export class Arriving implements SourceFile {
  #arrivedBytes = 0;
  #isOver = false;
  #waiting: (() => void)[] = [];

  constructor(
    readonly name: string,
    readonly sizeBytes: number,
    private handle: SyncHandle,
  ) {}

  /** Says how many bytes are written. */
  arrived(bytes: number): void {
    this.#arrivedBytes = bytes;
    this.#wake();
  }

  /** Ends all reading: the handle is about to be closed. */
  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  #wake(): void {
    this.#waiting.splice(0).forEach((resolve) => resolve());
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const end = Math.min(offset + length, this.sizeBytes);
    while (!this.#isOver && end > this.#arrivedBytes)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#isOver) throw new TabLMError("network", `${this.name}: no longer arriving`);
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, this.handle.read(bytes, { at: offset }));
  }
}
