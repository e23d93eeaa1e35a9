/** Growing text as it is, in blocks of a bounded length: the last alone is laid out again for what is added. */

/** The text without marks that pile up on one letter, more than any language has: browsers take minutes for them. */
export function withoutPiles(text: string): string {
  return text.replace(/(\p{M}{16})\p{M}+/gu, "$1");
}

/** Shows text at the end of an element. */
export class PlainView {
  /** Characters of a block. */
  static readonly PIECE = 4096;
  #root: HTMLElement;
  #last: Text | undefined;

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /** Adds to the text. */
  add(given: string): void {
    const text = withoutPiles(given);
    for (let start = 0; start < text.length;) {
      const room = PlainView.PIECE - (this.#last?.length ?? PlainView.PIECE);
      if (room <= 0) {
        this.#last = this.#newBlock();
        continue;
      }
      const end = this.#cut(text, start, room);
      this.#last?.appendData(text.slice(start, end));
      // A line that is complete ends a block that has no room for the next.
      if (end < text.length) this.#last = undefined;
      start = end;
    }
  }

  /** Where a piece of at most that length ends: behind its last line, else not within a character. */
  #cut(text: string, start: number, room: number): number {
    const end = start + room;
    if (end >= text.length) return text.length;
    const line = text.slice(start, end).lastIndexOf("\n") + 1;
    if (line > 0) return start + line;
    return /[\ud800-\udbff]/.test(text.charAt(end - 1)) && room > 1 ? end - 1 : end;
  }

  #newBlock(): Text {
    const block = document.createElement("div");
    block.className = "block plain";
    const content = document.createTextNode("");
    block.append(content);
    this.#root.append(block);
    return content;
  }
}
