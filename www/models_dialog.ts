/** The models dialog: the catalog, other models of the hub, and the visitor's own files. */

import { TabLM, type CatalogEntry, type DeviceChoice, type ModelSource } from "tablm";
import { CATALOG } from "./catalog.js";
import { bytes } from "./format.js";
import { readAddress } from "./settings.js";
import { parseModelSource } from "./model_source.js";
import { closeOnBackdrop, create, element } from "./dom.js";

const dialog = element<HTMLDialogElement>("models");
const list = element<HTMLUListElement>("catalog");
const form = element<HTMLFormElement>("other-model");
const other = element<HTMLInputElement>("other-source");
const refusal = element("other-refusal");
const files = element<HTMLInputElement>("own-files");

/** Words on a model that needs more than half of the memory that the browser reports. */
const MAY_NOT_FIT = "may not fit";

/** Returns the options from the page's address that apply to loading a model. */
export function loadOptions(): { device: DeviceChoice; contextLength?: number; hubUrl?: string } {
  const { device, contextLength, hub } = readAddress();
  return {
    device,
    ...(contextLength !== null && { contextLength }),
    ...(hub !== null && { hubUrl: hub }),
  };
}

/** Creates a row of an entry's facts; `value` is the element to update. */
function fact(name: string, value: string | Node): { row: HTMLElement; value: HTMLElement } {
  const row = create("div");
  const description = create("dd");
  description.append(value);
  row.append(create("dt", { textContent: name }), description);
  return { row, value: description };
}

/** Reads the headers of an entry's model and shows its exact download and memory sizes. */
async function showExactSizes(
  entry: CatalogEntry,
  download: HTMLElement,
  memory: HTMLElement,
): Promise<void> {
  const found = await TabLM.estimate(entry.source, loadOptions());
  download.textContent = found.stored
    ? `none, it is stored in this browser (${bytes(entry.downloadBytes)})`
    : bytes(found.downloadBytes);
  const onGpu = found.fits !== null;
  const [neededBytes, misfit] = onGpu
    ? [found.memory.peakGpuBytes, found.misfit]
    : [found.cpuMemory.peakCpuBytes, found.cpuMisfit];
  const needed = `${bytes(neededBytes)} at ${found.contextLength} positions`;
  memory.textContent =
    misfit === null
      ? `${needed}; ${entry.fits ? "fits" : MAY_NOT_FIT}`
      : `${needed}, more than this ${onGpu ? "GPU" : "browser"} allows (${misfit})`;
  memory.classList.toggle("bad", misfit !== null);
}

function addEntry(entry: CatalogEntry, use: (source: ModelSource) => void): void {
  const license = create("a", {
    href: entry.license.url,
    textContent: entry.license.name,
    target: "_blank",
    rel: "noopener noreferrer",
  });
  const size = `${entry.isComputed ? "about " : ""}${bytes(entry.downloadBytes)}`;
  const fit = entry.fits ? "fits" : MAY_NOT_FIT;
  const download = fact("Download", size);
  const memory = fact("Memory", `about ${bytes(entry.memoryBytes)}; ${fit}`);
  const summary = create("summary");
  const title = create("span", { className: "title", textContent: entry.name });
  const figures = create("span", {
    className: "size",
    textContent: entry.fits ? size : `${size}, ${fit}`,
  });
  summary.append(title, figures);
  const facts = create("dl");
  facts.append(
    fact("Good for", entry.goodFor).row,
    download.row,
    memory.row,
    fact("Format", entry.format).row,
    fact("License", license).row,
  );
  const button = create("button", {
    type: "button",
    className: "primary",
    textContent: "Use this model",
  });
  button.addEventListener("click", () => use(entry.source));
  const details = create("details", { name: "catalog" });
  details.append(summary, facts, button);
  // Requests to the hub are sent only for opened entries; if they fail, the catalog's figures stay.
  const showExact = (): void =>
    void showExactSizes(entry, download.value, memory.value).catch(() => undefined);
  details.addEventListener("toggle", () => details.open && showExact());
  const item = create("li");
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
  closeOnBackdrop(dialog);
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
