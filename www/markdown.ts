/**
 * Markdown that arrives in pieces, as DOM. What a model writes is hostile: raw HTML is shown
 * as text, pictures as links, and what is left goes through a sanitiser.
 */

import DOMPurify from "dompurify";
import { Marked, type Token } from "marked";

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escapeHtml = (text: string): string => text.replace(/[&<>"]/g, (character) => ESCAPES[character] ?? character);

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
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "del", "code", "pre", "blockquote", "ul", "ol",
    "li", "a", "table", "thead", "tbody", "tr", "th", "td",
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

/** Shows a growing text; only blocks that changed are made anew, so a selection survives. */
export class MarkdownView {
  #root: HTMLElement;
  #blocks: { raw: string; element: HTMLElement }[] = [];

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /** Shows the text as it is now. */
  show(text: string): void {
    const tokens = marked.lexer(text).filter((token) => token.type !== "space");
    tokens.forEach((token, index) => {
      const shown = this.#blocks[index];
      if (shown?.raw === token.raw) return;
      const element = render(token);
      if (shown) shown.element.replaceWith(element);
      else this.#root.append(element);
      this.#blocks[index] = { raw: token.raw, element };
    });
    for (const { element } of this.#blocks.splice(tokens.length)) element.remove();
  }
}
