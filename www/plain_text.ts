/**
 * Shows growing text unformatted, in blocks of bounded length, so that the browser lays out only
 * the last block again when text is added.
 */

import { create } from "./dom.js";

/**
 * Removes combining marks beyond 16 on one letter, more than any language has: browsers take
 * minutes to lay those out.
 */
export function limitCombiningMarks(text: string): string {
  return text.replace(/(\p{M}{16})\p{M}+/gu, "$1");
}

/** Appends text to an element. */
export class PlainTextView {
  /** UTF-16 code units per block. */
  static readonly MAX_BLOCK_CHARACTERS = 4096;
  #root: HTMLElement;
  #last: Text | undefined;

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /** Adds to the text. */
  add(added: string): void {
    const text = limitCombiningMarks(added);
    for (let start = 0; start < text.length;) {
      const used = this.#last?.length ?? PlainTextView.MAX_BLOCK_CHARACTERS;
      const room = PlainTextView.MAX_BLOCK_CHARACTERS - used;
      if (room <= 0) {
        this.#last = this.#newBlock();
        continue;
      }
      const end = this.#findEnd(text, start, room);
      this.#last?.appendData(text.slice(start, end));
      // Text is left over, so the block is full.
      if (end < text.length) this.#last = undefined;
      start = end;
    }
  }

  /**
   * Returns the end of a piece of at most `room` code units from `start`: after its last line
   * break, or else not within a surrogate pair.
   */
  #findEnd(text: string, start: number, room: number): number {
    const end = start + room;
    if (end >= text.length) return text.length;
    const line = text.slice(start, end).lastIndexOf("\n") + 1;
    if (line > 0) return start + line;
    return /[\ud800-\udbff]/.test(text.charAt(end - 1)) && room > 1 ? end - 1 : end;
  }

  #newBlock(): Text {
    const block = create("div", { className: "block plain" });
    const content = document.createTextNode("");
    block.append(content);
    this.#root.append(block);
    return content;
  }
}
