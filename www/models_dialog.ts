/** The models dialog: the catalog, other models of the hub, and the visitor's own files. */

import { TabLM, type DeviceChoice, type ModelSource } from "tablm";
import { CATALOG, type Entry } from "./catalog.js";
import { bytes } from "./format.js";
import { readAddress } from "./settings.js";
import { parseModelSource } from "./model_source.js";
import { element } from "./dom.js";

const dialog = element<HTMLDialogElement>("models");
const list = element<HTMLUListElement>("catalog");
const form = element<HTMLFormElement>("other-model");
const other = element<HTMLInputElement>("other-source");
const refusal = element("other-refusal");
const files = element<HTMLInputElement>("own-files");

/** Returns the options from the page's address that apply to loading a model. */
export function loadOptions(): { device: DeviceChoice; contextLength?: number; hubUrl?: string } {
  const { device, contextLength, hub } = readAddress();
  return {
    device,
    ...(contextLength !== null && { contextLength }),
    ...(hub !== null && { hubUrl: hub }),
  };
}

/** Creates a row of an entry's list of facts. */
function fact(name: string, value: string | Node): { row: HTMLElement; value: HTMLElement } {
  const [row, term, description] = [
    document.createElement("div"),
    document.createElement("dt"),
    document.createElement("dd"),
  ];
  term.textContent = name;
  description.append(value);
  row.append(term, description);
  return { row, value: description };
}

/** Reads the model's headers from its source and shows the exact download and memory sizes. */
async function measure(entry: Entry, download: HTMLElement, memory: HTMLElement): Promise<void> {
  const found = await TabLM.estimate(entry.source, loadOptions());
  download.textContent = found.stored
    ? `none, it is stored in this browser (${bytes(entry.downloadBytes)})`
    : bytes(found.downloadBytes);
  const onGpu = found.fits !== null;
  const [takes, misfit] = onGpu
    ? [found.memory.peakGpuBytes, found.misfit]
    : [found.cpuMemory.peakCpuBytes, found.cpuMisfit];
  const needed = `${bytes(takes)} at ${found.contextLength} positions`;
  memory.textContent =
    misfit === null
      ? needed
      : `${needed}, more than this ${onGpu ? "GPU" : "browser"} allows (${misfit})`;
  memory.classList.toggle("bad", misfit !== null);
}

function addEntry(entry: Entry, use: (source: ModelSource) => void): void {
  const [item, details, summary] = [
    document.createElement("li"),
    document.createElement("details"),
    document.createElement("summary"),
  ];
  const [size, note, facts, button] = [
    document.createElement("span"),
    document.createElement("p"),
    document.createElement("dl"),
    document.createElement("button"),
  ];
  const license = document.createElement("a");
  Object.assign(license, {
    href: entry.license.url,
    textContent: entry.license.name,
    target: "_blank",
    rel: "noopener noreferrer",
  });
  const download = fact("Download", bytes(entry.downloadBytes));
  const memory = fact("Memory", `about ${bytes(entry.memoryBytes)}`);
  size.className = "size";
  size.textContent = bytes(entry.downloadBytes);
  summary.append(entry.name, size);
  note.textContent = entry.note;
  facts.append(download.row, memory.row, fact("License", license).row);
  button.type = "button";
  button.className = "primary";
  button.textContent = "Use this model";
  button.addEventListener("click", () => use(entry.source));
  details.name = "catalog";
  details.append(summary, note, facts, button);
  // The hub is asked only about entries that are opened; where that fails the catalog's figures
  // stay.
  const look = (): void => void measure(entry, download.value, memory.value).catch(() => undefined);
  details.addEventListener("toggle", () => details.open && look());
  item.append(details);
  list.append(item);
}

/** Connects the dialog and files dropped on the page; `use` is called with the chosen model. */
export function connectModels(use: (source: ModelSource) => void): void {
  const choose = (source: ModelSource): void => {
    dialog.close();
    use(source);
  };
  const chooseFiles = (chosen: FileList | undefined | null): void => {
    const [first, ...more] = chosen ?? [];
    if (first) choose(more.length > 0 ? [first, ...more] : first);
  };
  for (const entry of CATALOG) addEntry(entry, choose);
  element("open-models").addEventListener("click", () => dialog.showModal());
  element("close-models").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    refusal.textContent = "";
    try {
      choose(parseModelSource(other.value));
    } catch (error) {
      refusal.textContent = (error as Error).message;
      other.focus();
    }
  });
  element("open-files").addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    chooseFiles(files.files);
    files.value = "";
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    chooseFiles(event.dataTransfer?.files);
  });
}
