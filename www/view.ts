/** The conversation as elements: messages, their footers, and staying at the end while text arrives. */

import { FRAME_CHARACTERS, MarkdownView } from "./markdown.js";
import { PlainView } from "./plain.js";

/** The element of that id; its absence is a mistake in index.html. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no element ${id}`);
  return found as T;
}

const FOLLOW_PX = 80;
/** Of a frame, for text that arrives. What remains of it at the end of an answer is mostly little. */
const FRAME_MS = 12;
const LAST_FRAME_MS = 50;
/** More than anybody wants read out. */
const ANNOUNCED_CHARACTERS = 20_000;
const scroller = element("scroller");
const list = element<HTMLOListElement>("messages");

/** Whether the reader is at the end, and so wants to stay there. */
function atEnd(): boolean {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < FOLLOW_PX;
}

/** Scrolls to the end. */
export function scrollToEnd(): void {
  scroller.scrollTop = scroller.scrollHeight;
}

function addMessage(role: "user" | "assistant", speaker: string): HTMLElement {
  const item = document.createElement("li");
  item.className = `message ${role}`;
  const name = document.createElement("span");
  name.className = "hidden";
  name.textContent = `${speaker}: `;
  const body = document.createElement("div");
  body.className = "body";
  item.append(name, body);
  list.append(item);
  return item;
}

/** Shows what the visitor wrote, as it was written. */
export function addUserMessage(text: string): void {
  const body = addMessage("user", "You").querySelector(".body");
  if (body) new PlainView(body as HTMLElement).add(text);
  scrollToEnd();
}

/** Removes every message. */
export function clearMessages(): void {
  list.replaceChildren();
}

/** Something that is shown when asked for. */
function folded(className: string): [HTMLDetailsElement, HTMLElement, HTMLElement] {
  const [details, summary, content] = [
    document.createElement("details"),
    document.createElement("summary"),
    document.createElement("div"),
  ];
  details.className = `folded ${className}`;
  content.className = "content";
  details.append(summary, content);
  return [details, summary, content];
}

/** An answer while it grows, and after. */
export class AnswerView {
  #item: HTMLElement;
  #reasoning: HTMLDetailsElement;
  #summary: HTMLElement;
  #thought: PlainView;
  #thoughts = "";
  #shownThoughts = 0;
  #body: HTMLElement;
  #markdown: MarkdownView;
  #text = "";
  #frame = 0;
  #noteShown: () => void = () => undefined;

  constructor() {
    this.#item = addMessage("assistant", "TabLM");
    this.#item.classList.add("growing");
    this.#item.setAttribute("aria-busy", "true");
    this.#body = this.#item.querySelector<HTMLElement>(".body") ?? this.#item;
    this.#markdown = new MarkdownView(this.#body);
    const [reasoning, summary, thought] = folded("reasoning");
    [this.#reasoning, this.#summary, this.#thought] = [reasoning, summary, new PlainView(thought)];
    this.#reasoning.hidden = true;
    this.#summary.textContent = "Thinking";
    this.#body.before(this.#reasoning);
    scrollToEnd();
  }

  /** The answer so far. */
  get text(): string {
    return this.#text;
  }

  /** What it thought before the answer. */
  get thoughts(): string {
    return this.#thoughts;
  }

  /** Adds a piece of the answer; at most one rendering for each frame, and more frames for much text. */
  add(piece: string): void {
    this.#text += piece;
    this.#markdown.add(piece);
    this.#frame ||= requestAnimationFrame(() => this.#render(FRAME_MS));
  }

  /** Adds a piece of what it thinks before the answer. */
  think(piece: string): void {
    this.#thoughts += piece;
    this.#frame ||= requestAnimationFrame(() => this.#render(FRAME_MS));
  }

  /** Shows a call and what it gave. */
  addCall(name: string, argumentsJson: string, result: string): void {
    const [details, summary, content] = folded("call");
    summary.append("Used ", Object.assign(document.createElement("code"), { textContent: name }));
    content.textContent = `${name}(${argumentsJson})\n→ ${result}`;
    const follow = atEnd();
    this.#item.append(details);
    if (follow) scrollToEnd();
  }

  /** Ends the answer with a line about it, and offers to copy it. The promise is kept once all of it is shown. */
  finish(note: string): Promise<void> {
    const shown = new Promise<void>((resolve) => (this.#noteShown = resolve));
    this.#render(LAST_FRAME_MS);
    this.#summary.textContent = "Thoughts";
    this.#item.classList.remove("growing");
    this.#item.removeAttribute("aria-busy");
    // The answer as the model wrote it, for copying.
    this.#item.dataset["answer"] = this.#text;
    if (!note && !this.#text) return shown;
    const footer = document.createElement("p");
    footer.className = "footer";
    if (this.#text) footer.append(this.#copyButton());
    footer.append(note);
    const follow = atEnd();
    this.#item.append(footer);
    if (follow) scrollToEnd();
    return shown;
  }

  /** Takes the answer away again. */
  remove(): void {
    cancelAnimationFrame(this.#frame);
    this.#item.remove();
  }

  /** The answer as it reads, for screen readers. */
  get plainText(): string {
    return this.#text.length > ANNOUNCED_CHARACTERS
      ? this.#text.slice(0, ANNOUNCED_CHARACTERS)
      : this.#body.innerText;
  }

  /** Shows what was added, for about so long; the next frame goes on. */
  #render(milliseconds: number): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const follow = atEnd();
    this.#reasoning.hidden = this.#thoughts === "";
    const thoughts = this.#thoughts.slice(
      this.#shownThoughts,
      this.#shownThoughts + FRAME_CHARACTERS,
    );
    this.#thought.add(thoughts);
    this.#shownThoughts += thoughts.length;
    if (this.#text) this.#summary.textContent = "Thoughts";
    const isAnswerShown = this.#markdown.advance(milliseconds);
    if (isAnswerShown && this.#shownThoughts === this.#thoughts.length) this.#noteShown();
    else this.#frame = requestAnimationFrame(() => this.#render(FRAME_MS));
    if (follow) scrollToEnd();
  }

  #copyButton(): HTMLButtonElement {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet copy";
    button.textContent = "Copy";
    button.addEventListener("click", () => {
      navigator.clipboard.writeText(this.#text).then(
        () => (button.textContent = "Copied"),
        () => (button.textContent = "Not allowed"),
      );
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    return button;
  }
}
