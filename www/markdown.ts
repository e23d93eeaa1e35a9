/**
 * Renders growing Markdown. A model's output is untrusted: raw HTML is shown as
 * text, images become links, and the rest passes through a sanitizer. Text that is too long, too
 * deeply nested, too wide or too slow to parse is shown unformatted, so that no answer blocks the
 * page.
 */

import DOMPurify from "dompurify";
import {
  Lexer,
  Marked,
  Tokenizer,
  type Links,
  type MarkedToken,
  type Token,
  type Tokens,
} from "marked";
import { create } from "./dom.js";
import { PlainTextView, limitCombiningMarks } from "./plain_text.js";

/** Limit of nested quotes, lists and emphasis, which protects the parser's stack. */
const MAX_DEPTH = 10;
/** Limit of a table's cells. Short rows are padded, so a few bytes can make many cells. */
const MAX_TABLE_CELLS = 4096;
/** Limit of an answer's formatted text; the rest is shown unformatted. */
const MAX_CHARACTERS = 128 << 10;
/** Limit of an answer's formatted elements. */
const MAX_ELEMENTS = 3000;
/** Limit of text added per frame, because the browser's layout time cannot be measured here. */
export const MAX_FRAME_CHARACTERS = 32 << 10;
/**
 * The text that may still change is parsed again after this much new text, or after this fraction
 * of its own length if that is more.
 */
const MIN_STEP_CHARACTERS = 1024;
const STEP_FRACTION = 1 / 4;
/**
 * Time limit of a parse; a longer one ends formatting. As text grows by at most a quarter per step,
 * no parse takes much longer than the one before it.
 */
const MAX_PARSE_MS = 100;

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escapeHtml = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => ESCAPES[character] ?? character);

/** Treats markup that is nested too deeply, and tables with too many cells, as text. */
class BoundedTokenizer extends Tokenizer {
  #depth = 0;

  #nest<T>(read: () => T | undefined): T | undefined {
    if (this.#depth >= MAX_DEPTH) return undefined;
    this.#depth += 1;
    try {
      return read();
    } finally {
      this.#depth -= 1;
    }
  }

  override blockquote(source: string): Tokens.Blockquote | undefined {
    return this.#nest(() => super.blockquote(source));
  }

  override list(source: string): Tokens.List | undefined {
    return this.#nest(() => super.list(source));
  }

  override link(source: string): Tokens.Link | Tokens.Image | undefined {
    return this.#nest(() => super.link(source));
  }

  override reflink(
    source: string,
    links: Links,
  ): Tokens.Link | Tokens.Image | Tokens.Text | undefined {
    return this.#nest(() => super.reflink(source, links));
  }

  override emStrong(
    source: string,
    masked: string,
    before?: string,
  ): Tokens.Em | Tokens.Strong | undefined {
    return this.#nest(() => super.emStrong(source, masked, before));
  }

  override del(source: string, masked: string, before?: string): Tokens.Del | undefined {
    return this.#nest(() => super.del(source, masked, before));
  }

  override table(source: string): Tokens.Table | undefined {
    const [header = "", ...rows] = source
      .slice(0, (source.indexOf("\n\n") + 1 || source.length + 1) - 1)
      .split("\n");
    return header.split("|").length * rows.length > MAX_TABLE_CELLS
      ? undefined
      : super.table(source);
  }
}

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escapeHtml(text),
    image: ({ href, text }) => `<a href="${escapeHtml(href)}">${escapeHtml(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

const SANITIZE_OPTIONS = {
  ALLOWED_TAGS: [
    "p",
    "br",
    "hr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "strong",
    "em",
    "del",
    "code",
    "pre",
    "blockquote",
    "ul",
    "ol",
    "li",
    "a",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
  ],
  ALLOWED_ATTR: ["href", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true as const,
};

/** Renders a block of Markdown. */
function render(token: Token): HTMLElement {
  const holder = create("div", { className: "block" });
  holder.append(DOMPurify.sanitize(marked.parser([token]), SANITIZE_OPTIONS));
  for (const link of holder.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  // Wide content scrolls on its own; a tab stop makes that work with the keyboard.
  for (const wide of holder.querySelectorAll<HTMLElement>("pre, table")) wide.tabIndex = 0;
  return holder;
}

interface Block {
  raw: string;
  element: HTMLElement;
}

const sourceLength = (tokens: Token[]): number =>
  tokens.reduce((sum, { raw }) => sum + raw.length, 0);
const countElements = (blocks: Block[]): number =>
  blocks.reduce((sum, { element }) => sum + 1 + element.getElementsByTagName("*").length, 0);

/**
 * A view of growing Markdown. Only the blocks at the end that may still change are parsed again,
 * and only elements that changed are replaced, so a selection survives.
 */
export class MarkdownView {
  #root: HTMLElement;
  /** Text that is not shown yet. */
  #waiting = "";
  /** Text whose blocks may still change, and these blocks. */
  #tail = "";
  #open: Block[] = [];
  #characters = 0;
  /** Number of elements in settled blocks. */
  #elementCount = 0;
  /** Link definitions in settled blocks. */
  #links: Links = {};
  /** View of the unformatted rest, once a limit is exceeded. */
  #plain: PlainTextView | undefined;

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /** Adds to the text; `advance` shows it. */
  add(text: string): void {
    // marked removes carriage returns too, so its tokens' lengths would not add up.
    this.#waiting += text.replaceAll("\r", "");
  }

  /**
   * Shows more text for about `milliseconds`, at most the text of one frame. Returns true if all
   * text is shown.
   */
  advance(milliseconds: number): boolean {
    const end = performance.now() + milliseconds;
    const left = this.#waiting.length - MAX_FRAME_CHARACTERS;
    while (this.#waiting !== "" && this.#waiting.length > left && performance.now() < end) {
      if (this.#plain) this.#plain.add(this.#take(PlainTextView.MAX_BLOCK_CHARACTERS));
      else this.#step();
    }
    return this.#waiting === "";
  }

  #take(count: number): string {
    const taken = this.#waiting.slice(0, count);
    this.#waiting = this.#waiting.slice(count);
    return taken;
  }

  #step(): void {
    const piece = this.#take(
      Math.max(MIN_STEP_CHARACTERS, Math.floor(this.#tail.length * STEP_FRACTION)),
    );
    this.#tail += limitCombiningMarks(piece);
    this.#characters += piece.length;
    const start = performance.now();
    try {
      this.#format();
    } catch (error) {
      console.warn("an answer is shown unformatted:", error);
      return this.#endFormatting();
    }
    const isTooMuch =
      this.#characters > MAX_CHARACTERS ||
      this.#elementCount + countElements(this.#open) > MAX_ELEMENTS;
    if (isTooMuch || performance.now() - start > MAX_PARSE_MS) this.#endFormatting();
  }

  /** Parses and shows the tail, and settles blocks that cannot change any more. */
  #format(): void {
    const lexer = new Lexer({ ...marked.defaults, tokenizer: new BoundedTokenizer() });
    Object.assign(lexer.tokens.links, this.#links);
    const tokens = lexer.lex(this.#tail) as MarkedToken[];
    const blocks = tokens.filter((token) => token.type !== "space");
    blocks.forEach(({ raw }, index) => {
      const shown = this.#open[index];
      if (shown?.raw === raw) return;
      const element = render(blocks[index] as Token);
      if (shown) shown.element.replaceWith(element);
      else this.#root.append(element);
      this.#open[index] = { raw, element };
    });
    for (const { element } of this.#open.splice(blocks.length)) element.remove();
    this.#settle(tokens);
  }

  /**
   * Settles all blocks but the last. Those before it can change only until its first line is
   * complete, because that line may turn out to continue a list or a paragraph.
   */
  #settle(tokens: MarkedToken[]): void {
    const last = tokens.findLastIndex((token) => token.type !== "space");
    const [before, after] = [
      tokens.slice(0, Math.max(last, 0)),
      tokens.slice(Math.max(last, 0)),
    ].map(sourceLength) as [number, number];
    const rest = this.#tail.slice(before);
    // marked's `raw` is not always the exact source text.
    if (this.#open.length < 2 || rest.length !== after || !rest.trimStart().includes("\n")) return;
    for (const token of tokens.slice(0, last)) {
      if (token.type === "def") this.#links[token.tag] ??= { href: token.href, title: token.title };
    }
    this.#elementCount += countElements(this.#open.slice(0, -1));
    this.#open = this.#open.slice(-1);
    this.#tail = rest;
  }

  /** Shows the open blocks and all later text unformatted. */
  #endFormatting(): void {
    for (const { element } of this.#open) element.remove();
    this.#plain = new PlainTextView(this.#root);
    this.#plain.add(this.#tail);
    this.#open = [];
    this.#tail = "";
  }
}
