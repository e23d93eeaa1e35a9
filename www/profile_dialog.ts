/** The profile dialog (Alt+P, or from the settings): the time that each kernel of a step takes. */

import type { KernelProfile, Model, StepProfile } from "tablm";
import { describeError } from "./error_messages.js";
import { closeOnBackdrop, create, element } from "./dom.js";

const dialog = element<HTMLDialogElement>("profile");
const summary = element("profile-summary");
const steps = element("profile-steps");
const again = element<HTMLButtonElement>("profile-again");

/** Formats a number with three significant digits, or without decimals from 100 up. */
function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

const percent = (share: number): string => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

/** Columns of the table, one row per kernel. Narrow screens hide the columns marked `detail`. */
const COLUMNS: { title: string; detail?: boolean; of: (kernel: KernelProfile) => string }[] = [
  { title: "Kernel", of: ({ name }) => name },
  { title: "Count", detail: true, of: ({ count }) => String(count) },
  { title: "ms", of: ({ us }) => digits(us / 1000) },
  { title: "Time", of: ({ timeShare }) => percent(timeShare) },
  { title: "GB/s", detail: true, of: ({ gbPerS }) => digits(gbPerS) },
  { title: "Of copy speed", of: ({ bandwidthShare }) => percent(bandwidthShare) },
  {
    title: "Gop/s",
    detail: true,
    of: ({ operations, us }) => (operations > 0 && us > 0 ? digits(operations / us / 1000) : ""),
  },
];

function row(tag: "th" | "td", texts: string[]): HTMLTableRowElement {
  const line = create("tr");
  texts.forEach((text, index) => {
    const cell = create(tag, { textContent: text });
    if (tag === "th") cell.setAttribute("scope", "col");
    if (COLUMNS[index]?.detail) cell.className = "detail";
    line.append(cell);
  });
  return line;
}

function table({ rows, position, wholeUs, kernels }: StepProfile): HTMLTableElement {
  const view = create("table");
  const step = rows === 1 ? `One token at position ${position}` : `${rows} tokens of a prompt`;
  view.createCaption().textContent = `${step}: ${digits(wholeUs / 1000)} ms`;
  view.createTHead().append(
    row(
      "th",
      COLUMNS.map(({ title }) => title),
    ),
  );
  view.createTBody().append(
    ...kernels.map((kernel) =>
      row(
        "td",
        COLUMNS.map(({ of }) => of(kernel)),
      ),
    ),
  );
  return view;
}

async function measure(model: Promise<Model> | undefined): Promise<void> {
  steps.replaceChildren();
  summary.textContent = "Measuring, which takes a few seconds.";
  again.disabled = true;
  try {
    if (!model) throw new Error("No model is loaded.");
    const loaded = await model;
    const profile = await loaded.profile();
    const timer = profile.timer === "timestamps" ? "timestamps of the device" : "the clock";
    const copySpeed = `${digits(profile.copyGbPerS)} GB/s`;
    const { adapter } = loaded.info.device;
    summary.textContent = `${adapter} copies at ${copySpeed}. Times by ${timer}.`;
    steps.replaceChildren(...profile.steps.map(table));
  } catch (error) {
    summary.textContent = describeError(error).title;
  } finally {
    again.disabled = false;
  }
}

/** Connects the dialog; `model` returns the current model, if any. */
export function connectProfile(model: () => Promise<Model> | undefined): void {
  const open = (): void => {
    if (dialog.open) return;
    element<HTMLDialogElement>("settings").close();
    dialog.showModal();
    void measure(model());
  };
  element("open-profile").addEventListener("click", open);
  document.addEventListener("keydown", (event) => {
    // `code` is the key's position: with Alt, some layouts type another character.
    if (event.code !== "KeyP" || !event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    open();
  });
  again.addEventListener("click", () => void measure(model()));
  element("close-profile").addEventListener("click", () => dialog.close());
  closeOnBackdrop(dialog);
}
