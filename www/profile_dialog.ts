/** The profile dialog, behind Alt+P and in the settings: where the time of a step goes, kernel by kernel. */

import type { KernelProfile, Model, StepProfile } from "tablm";
import { describeProblem } from "./problems.js";
import { element } from "./view.js";

const dialog = element<HTMLDialogElement>("profile");
const summary = element("profile-summary");
const steps = element("profile-steps");
const again = element<HTMLButtonElement>("profile-again");

/** Three digits that count. */
function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

const percent = (share: number): string => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

/** What a row of the table says of a kernel; what a narrow screen does without is a detail. */
const COLUMNS: { title: string; detail?: boolean; of: (kernel: KernelProfile) => string }[] = [
  { title: "Kernel", of: ({ name }) => name },
  { title: "Count", detail: true, of: ({ count }) => String(count) },
  { title: "ms", of: ({ us }) => digits(us / 1000) },
  { title: "Time", of: ({ time_share }) => percent(time_share) },
  { title: "GB/s", detail: true, of: ({ gb_per_s }) => digits(gb_per_s) },
  { title: "Of a copy", of: ({ bandwidth_share }) => percent(bandwidth_share) },
  {
    title: "Gop/s",
    detail: true,
    of: ({ operations, us }) => (operations > 0 && us > 0 ? digits(operations / us / 1000) : ""),
  },
];

function row(tag: "th" | "td", texts: string[]): HTMLTableRowElement {
  const line = document.createElement("tr");
  texts.forEach((text, index) => {
    const cell = document.createElement(tag);
    cell.textContent = text;
    if (tag === "th") cell.setAttribute("scope", "col");
    if (COLUMNS[index]?.detail) cell.className = "detail";
    line.append(cell);
  });
  return line;
}

function table({ rows, position, whole_us, kernels }: StepProfile): HTMLTableElement {
  const view = document.createElement("table");
  const what = rows === 1 ? `One token at position ${position}` : `${rows} tokens of a prompt`;
  view.createCaption().textContent = `${what}: ${digits(whole_us / 1000)} ms`;
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
  summary.textContent = "Measuring, which takes some seconds.";
  again.disabled = true;
  try {
    if (!model) throw new Error("There is no model.");
    const loaded = await model;
    const profile = await loaded.profile();
    const timer = profile.timer === "timestamps" ? "timestamps of the device" : "the clock";
    summary.textContent = `${loaded.info.device.adapter} copies at ${digits(profile.copy_gb_per_s)} GB/s. Times by ${timer}.`;
    steps.replaceChildren(...profile.steps.map(table));
  } catch (error) {
    summary.textContent = describeProblem(error).title;
  } finally {
    again.disabled = false;
  }
}

/** Makes the dialog work; `model` gives the model there is. */
export function connectProfile(model: () => Promise<Model> | undefined): void {
  const open = (): void => {
    if (dialog.open) return;
    element<HTMLDialogElement>("settings").close();
    dialog.showModal();
    void measure(model());
  };
  element("open-profile").addEventListener("click", open);
  document.addEventListener("keydown", (event) => {
    // By its place on the keyboard: with Alt, some layouts type another character.
    if (event.code !== "KeyP" || !event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    open();
  });
  again.addEventListener("click", () => void measure(model()));
  element("close-profile").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}
