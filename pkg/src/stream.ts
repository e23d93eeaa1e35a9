/** A queue with one producer and one consumer that iterates over it. */

/** An async iterable of values that arrive over time. Leaving its loop early calls `onCancel`. */
export class Stream<T> implements AsyncIterable<T> {
  #values: T[] = [];
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;
  #onCancel: () => void;

  constructor(onCancel: () => void) {
    this.#onCancel = onCancel;
  }

  /** Adds a value. */
  push(value: T): void {
    if (this.#ended) return;
    this.#values.push(value);
    this.#wake?.();
  }

  /** Ends the stream, with an error if given, after the values that were pushed before. */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        const value = this.#values.shift();
        if (value !== undefined) {
          yield value;
        } else if (this.#ended) {
          const error = this.#error;
          this.#error = undefined;
          if (error !== undefined) throw error;
          return;
        } else {
          await new Promise<void>((resolve) => (this.#wake = resolve));
          this.#wake = undefined;
        }
      }
    } finally {
      if (!this.#ended) {
        this.#ended = true;
        this.#values = [];
        this.#onCancel();
      }
    }
  }
}
