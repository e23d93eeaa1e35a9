/** Shows the conversation: messages and their footers, scrolled so that new text is visible. */

import { MAX_FRAME_CHARACTERS, MarkdownView } from "./markdown.js";
import { create, element } from "./dom.js";
import { PlainTextView } from "./plain_text.js";

/** New text is scrolled into view if the end of the conversation is at most this far below it. */
const FOLLOW_PX = 80;
/** Time per frame for rendering text while an answer is generated. */
const FRAME_MS = 12;
/** Time for rendering at the end of an answer, when usually little text is left. */
const LAST_FRAME_MS = 50;
/** Limit of the text announced to screen readers. */
const MAX_ANNOUNCED_CHARACTERS = 20_000;
const scroller = element("scroller");
const list = element<HTMLOListElement>("messages");

/** True if the conversation is scrolled to its end, so that it should follow new text. */
function isAtEnd(): boolean {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < FOLLOW_PX;
}

/** Scrolls to the end of the conversation. */
export function scrollToEnd(): void {
  scroller.scrollTop = scroller.scrollHeight;
}

function addMessage(role: "user" | "assistant", speaker: string): HTMLElement {
  const item = create("li", { className: `message ${role}` });
  item.append(
    create("span", { className: "hidden", textContent: `${speaker}: ` }),
    create("div", { className: "body" }),
  );
  list.append(item);
  return item;
}

/** Adds the visitor's message, unformatted. */
export function addUserMessage(text: string): void {
  const body = addMessage("user", "You").querySelector(".body");
  if (body) new PlainTextView(body as HTMLElement).add(text);
  scrollToEnd();
}

/** Removes every message. */
export function clearMessages(): void {
  list.replaceChildren();
}

/** Creates a `<details>` element with its summary and content. */
function folded(className: string): [HTMLDetailsElement, HTMLElement, HTMLElement] {
  const details = create("details", { className: `folded ${className}` });
  const summary = create("summary");
  const content = create("div", { className: "content" });
  details.append(summary, content);
  return [details, summary, content];
}

/** An answer in the conversation, during and after generation. */
export class AnswerView {
  #item: HTMLElement;
  #reasoningDetails: HTMLDetailsElement;
  #summary: HTMLElement;
  #reasoningText: PlainTextView;
  #reasoning = "";
  #shownReasoning = 0;
  #body: HTMLElement;
  #markdown: MarkdownView;
  #text = "";
  #frame = 0;
  #resolveShown: () => void = () => undefined;

  constructor() {
    this.#item = addMessage("assistant", "TabLM");
    this.#item.classList.add("growing");
    this.#item.setAttribute("aria-busy", "true");
    this.#body = this.#item.querySelector<HTMLElement>(".body") ?? this.#item;
    this.#markdown = new MarkdownView(this.#body);
    const [details, summary, content] = folded("reasoning");
    this.#reasoningDetails = details;
    this.#summary = summary;
    this.#reasoningText = new PlainTextView(content);
    this.#reasoningDetails.hidden = true;
    this.#summary.textContent = "Thinking";
    this.#body.before(this.#reasoningDetails);
    scrollToEnd();
  }

  /** The text of the answer so far. */
  get text(): string {
    return this.#text;
  }

  /** The model's reasoning so far. */
  get reasoning(): string {
    return this.#reasoning;
  }

  /** Adds text to the answer. Each frame renders once; long text is spread over several frames. */
  add(piece: string): void {
    this.#text += piece;
    this.#markdown.add(piece);
    this.#frame ||= requestAnimationFrame(() => this.#render(FRAME_MS));
  }

  /** Adds text to the reasoning that precedes the answer. */
  addReasoning(piece: string): void {
    this.#reasoning += piece;
    this.#frame ||= requestAnimationFrame(() => this.#render(FRAME_MS));
  }

  /** Shows a tool call and its result. */
  addToolCall(name: string, argumentsJson: string, result: string): void {
    const [details, summary, content] = folded("call");
    summary.append("Used ", create("code", { textContent: name }));
    content.textContent = `${name}(${argumentsJson})\n→ ${result}`;
    const follow = isAtEnd();
    this.#item.append(details);
    if (follow) scrollToEnd();
  }

  /** Ends the answer with a note and a copy button. Resolves once the whole answer is shown. */
  finish(note: string): Promise<void> {
    const shown = new Promise<void>((resolve) => (this.#resolveShown = resolve));
    this.#render(LAST_FRAME_MS);
    this.#summary.textContent = "Thoughts";
    this.#item.classList.remove("growing");
    this.#item.removeAttribute("aria-busy");
    // The answer as the model wrote it, which tests read.
    this.#item.dataset["answer"] = this.#text;
    if (!note && !this.#text) return shown;
    const footer = create("p", { className: "footer" });
    if (this.#text) footer.append(this.#copyButton());
    footer.append(note);
    const follow = isAtEnd();
    this.#item.append(footer);
    if (follow) scrollToEnd();
    return shown;
  }

  /** Removes the answer from the conversation. */
  remove(): void {
    cancelAnimationFrame(this.#frame);
    this.#item.remove();
  }

  /** The answer as text for screen readers: without Markdown, or the beginning of a long answer. */
  get plainText(): string {
    return this.#text.length > MAX_ANNOUNCED_CHARACTERS
      ? this.#text.slice(0, MAX_ANNOUNCED_CHARACTERS)
      : this.#body.innerText;
  }

  /** Renders added text for about `milliseconds`; the next frame continues. */
  #render(milliseconds: number): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const follow = isAtEnd();
    this.#reasoningDetails.hidden = this.#reasoning === "";
    const reasoning = this.#reasoning.slice(
      this.#shownReasoning,
      this.#shownReasoning + MAX_FRAME_CHARACTERS,
    );
    this.#reasoningText.add(reasoning);
    this.#shownReasoning += reasoning.length;
    if (this.#text) this.#summary.textContent = "Thoughts";
    const isAnswerShown = this.#markdown.advance(milliseconds);
    if (isAnswerShown && this.#shownReasoning === this.#reasoning.length) this.#resolveShown();
    else this.#frame = requestAnimationFrame(() => this.#render(FRAME_MS));
    if (follow) scrollToEnd();
  }

  #copyButton(): HTMLButtonElement {
    const button = create("button", {
      type: "button",
      className: "quiet copy",
      textContent: "Copy",
    });
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
