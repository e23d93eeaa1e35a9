/**
 * Markdown that arrives in pieces, as DOM. What a model writes is hostile: raw HTML is shown
 * as text, pictures as links, and what is left goes through a sanitizer. It never breaks the page and never
 * holds it up either: what is too long, too deep, too wide or too slow to be read as Markdown is shown as it is.
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
import { PlainView, withoutPiles } from "./plain.js";

/** Quotes, lists and emphasis within each other: more than people write, and few enough for the stack. */
const MAX_DEPTH = 10;
/** Rows are filled up to the columns of the first, which makes a few bytes many cells. */
const MAX_CELLS = 4096;
/** How far Markdown is read. */
const MAX_CHARACTERS = 128 << 10;
const MAX_ELEMENTS = 3000;
/** What is added in a frame at most: what the browser takes to lay it out is not known here. */
export const FRAME_CHARACTERS = 32 << 10;
/** How much text is added at least before the open block is read again, and which share of the block. */
const STEP_CHARACTERS = 1024;
const STEP_SHARE = 4;
/** Each step reads a quarter more at most, so one that takes so long is not followed by a much longer one. */
const SLOW_MS = 100;

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escapeHtml = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => ESCAPES[character] ?? character);

/** What is nested too deeply, or a table with too many cells, is text like any other. */
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
    return header.split("|").length * rows.length > MAX_CELLS ? undefined : super.table(source);
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

const SANITISE = {
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

/** One block of Markdown as elements. */
function render(token: Token): HTMLElement {
  const holder = document.createElement("div");
  holder.className = "block";
  holder.append(DOMPurify.sanitize(marked.parser([token]), SANITISE));
  for (const link of holder.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  // Wide content scrolls by itself, for the keyboard too.
  for (const wide of holder.querySelectorAll<HTMLElement>("pre, table")) wide.tabIndex = 0;
  return holder;
}

interface Block {
  raw: string;
  element: HTMLElement;
}

const lengthOf = (tokens: Token[]): number => tokens.reduce((sum, { raw }) => sum + raw.length, 0);
const elementsOf = (blocks: Block[]): number =>
  blocks.reduce((sum, { element }) => sum + 1 + element.getElementsByTagName("*").length, 0);

/**
 * Shows a growing text. Only its end is read again, from where a block begins that may still change; of the
 * elements only those that changed are made anew, so a selection survives.
 */
export class MarkdownView {
  #root: HTMLElement;
  /** What has not been shown. */
  #waiting = "";
  /** What may still change, and its elements. */
  #tail = "";
  #open: Block[] = [];
  #characters = 0;
  /** Elements of what is settled. */
  #elementCount = 0;
  /** The targets of links that are defined in what is settled. */
  #links: Links = {};
  /** Takes the rest, once there is too much of it. */
  #plain: PlainView | undefined;

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /** Adds to the text; `advance` shows it. */
  add(text: string): void {
    // As marked does, which would otherwise count other characters than there are.
    this.#waiting += text.replaceAll("\r", "");
  }

  /** Shows more of the text for about so long, and no more than a frame's. Answers whether all of it is shown. */
  advance(milliseconds: number): boolean {
    const end = performance.now() + milliseconds;
    const left = this.#waiting.length - FRAME_CHARACTERS;
    while (this.#waiting !== "" && this.#waiting.length > left && performance.now() < end) {
      if (this.#plain) this.#plain.add(this.#take(PlainView.PIECE));
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
    const piece = this.#take(Math.max(STEP_CHARACTERS, Math.floor(this.#tail.length / STEP_SHARE)));
    this.#tail += withoutPiles(piece);
    this.#characters += piece.length;
    const start = performance.now();
    try {
      this.#format();
    } catch (error) {
      console.warn("an answer is shown as it is:", error);
      return this.#giveUp();
    }
    const isTooMuch =
      this.#characters > MAX_CHARACTERS ||
      this.#elementCount + elementsOf(this.#open) > MAX_ELEMENTS;
    if (isTooMuch || performance.now() - start > SLOW_MS) this.#giveUp();
  }

  /** Reads the tail, shows it, and settles what cannot change any more. */
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
   * Lets go of all blocks but the last. What comes before it may only change as long as the last one's first
   * line is not complete, for that may become part of a list or a paragraph.
   */
  #settle(tokens: MarkedToken[]): void {
    const last = tokens.findLastIndex((token) => token.type !== "space");
    const [before, after] = [
      tokens.slice(0, Math.max(last, 0)),
      tokens.slice(Math.max(last, 0)),
    ].map(lengthOf) as [number, number];
    const rest = this.#tail.slice(before);
    // What marked calls raw is not always the text to the letter.
    if (this.#open.length < 2 || rest.length !== after || !rest.trimStart().includes("\n")) return;
    for (const token of tokens.slice(0, last)) {
      if (token.type === "def") this.#links[token.tag] ??= { href: token.href, title: token.title };
    }
    this.#elementCount += elementsOf(this.#open.slice(0, -1));
    this.#open = this.#open.slice(-1);
    this.#tail = rest;
  }

  /** Shows what is open, and all that follows, as it is. */
  #giveUp(): void {
    for (const { element } of this.#open) element.remove();
    this.#plain = new PlainView(this.#root);
    this.#plain.add(this.#tail);
    this.#open = [];
    this.#tail = "";
  }
}
