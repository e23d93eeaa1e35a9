/** The conversation as elements: messages, their footers, and staying at the end while text arrives. */

import { MarkdownView } from "./markdown.js";

/** The element of that id; its absence is a mistake in index.html. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no element ${id}`);
  return found as T;
}

const FOLLOW_PX = 80;
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
  if (body) body.textContent = text;
  scrollToEnd();
}

/** Removes every message. */
export function clearMessages(): void {
  list.replaceChildren();
}

/** Something that is shown when asked for. */
function folded(className: string): [HTMLDetailsElement, HTMLElement, HTMLElement] {
  const [details, summary, content] = [document.createElement("details"), document.createElement("summary"), document.createElement("div")];
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
  #thought: HTMLElement;
  #thoughts = "";
  #body: HTMLElement;
  #markdown: MarkdownView;
  #text = "";
  #frame = 0;

  constructor() {
    this.#item = addMessage("assistant", "TabLM");
    this.#item.classList.add("growing");
    this.#item.setAttribute("aria-busy", "true");
    this.#body = this.#item.querySelector<HTMLElement>(".body") ?? this.#item;
    this.#markdown = new MarkdownView(this.#body);
    [this.#reasoning, this.#summary, this.#thought] = folded("reasoning");
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

  /** Adds a piece of the answer; at most one rendering for each frame. */
  add(piece: string): void {
    this.#text += piece;
    this.#frame ||= requestAnimationFrame(() => this.#render());
  }

  /** Adds a piece of what it thinks before the answer. */
  think(piece: string): void {
    this.#thoughts += piece;
    this.#frame ||= requestAnimationFrame(() => this.#render());
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

  /** Ends the answer with a line about it, and offers to copy it. */
  finish(note: string): void {
    this.#render();
    this.#summary.textContent = "Thoughts";
    this.#item.classList.remove("growing");
    this.#item.removeAttribute("aria-busy");
    // The answer as the model wrote it, for copying.
    this.#item.dataset["answer"] = this.#text;
    if (!note && !this.#text) return;
    const footer = document.createElement("p");
    footer.className = "footer";
    if (this.#text) footer.append(this.#copyButton());
    footer.append(note);
    const follow = atEnd();
    this.#item.append(footer);
    if (follow) scrollToEnd();
  }

  /** Takes the answer away again. */
  remove(): void {
    cancelAnimationFrame(this.#frame);
    this.#item.remove();
  }

  /** The answer as it reads, for screen readers. */
  get plainText(): string {
    return this.#body.innerText;
  }

  #render(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const follow = atEnd();
    this.#reasoning.hidden = this.#thoughts === "";
    this.#thought.textContent = this.#thoughts;
    if (this.#text) this.#summary.textContent = "Thoughts";
    this.#markdown.show(this.#text);
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
