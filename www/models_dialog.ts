/** The models dialog: the catalogue, any other model of the hub, and the visitor's own files. */

import { TabLM, type DeviceChoice, type ModelSource } from "tablm";
import { CATALOGUE, type Entry } from "./catalogue.js";
import { bytes } from "./format.js";
import { readAddress } from "./settings.js";
import { readSource } from "./source.js";
import { element } from "./view.js";

const dialog = element<HTMLDialogElement>("models");
const list = element<HTMLUListElement>("catalogue");
const form = element<HTMLFormElement>("other-model");
const other = element<HTMLInputElement>("other-source");
const refusal = element("other-refusal");
const files = element<HTMLInputElement>("own-files");

/** What a model is loaded with besides its source. */
export function loadOptions(): { device: DeviceChoice; contextLength?: number; hubUrl?: string } {
  const { device, contextLength, hub } = readAddress();
  return {
    device,
    ...(contextLength !== null && { contextLength }),
    ...(hub !== null && { hubUrl: hub }),
  };
}

/** A row of facts about a model. */
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

/** Looks at the model's headers where they are, and says what it takes here. */
async function measure(entry: Entry, download: HTMLElement, memory: HTMLElement): Promise<void> {
  const found = await TabLM.estimate(entry.source, loadOptions());
  download.textContent = found.stored
    ? `none, it is kept in this browser (${bytes(entry.downloadBytes)})`
    : bytes(found.download_bytes);
  const onGpu = found.fits !== null;
  const [takes, misfit] = onGpu
    ? [found.memory.peak_gpu_bytes, found.misfit]
    : [found.cpu_memory.peak_cpu_bytes, found.cpu_misfit];
  const needed = `${bytes(takes)} at ${found.context_length} positions`;
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
  details.name = "catalogue";
  details.append(summary, note, facts, button);
  // The hub is asked only about what somebody looks at; without it the entry's own figures stay.
  const look = (): void => void measure(entry, download.value, memory.value).catch(() => undefined);
  details.addEventListener("toggle", () => details.open && look());
  item.append(details);
  list.append(item);
}

/** Makes the dialog work, and files dropped on the page; `use` is called with what was chosen. */
export function connectModels(use: (source: ModelSource) => void): void {
  const choose = (source: ModelSource): void => {
    dialog.close();
    use(source);
  };
  const chooseFiles = (chosen: FileList | undefined | null): void => {
    const [first, ...more] = chosen ?? [];
    if (first) choose(more.length > 0 ? [first, ...more] : first);
  };
  for (const entry of CATALOGUE) addEntry(entry, choose);
  element("open-models").addEventListener("click", () => dialog.showModal());
  element("close-models").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    refusal.textContent = "";
    try {
      choose(readSource(other.value));
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
