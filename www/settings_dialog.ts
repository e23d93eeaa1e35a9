/** The settings dialog: system prompt, temperature, answer length, and the stored models. */

import { TabLM, type StoredModel } from "tablm";
import { bytes } from "./format.js";
import { storeSettings, readSettings, type Settings } from "./settings.js";
import { closeOnBackdrop, element } from "./dom.js";

const dialog = element<HTMLDialogElement>("settings");
const system = element<HTMLTextAreaElement>("system");
const temperature = element<HTMLInputElement>("temperature");
const temperatureValue = element("temperature-value");
const maxTokens = element<HTMLInputElement>("max-tokens");
const stored = element("stored");
const remove = element<HTMLButtonElement>("delete-stored");

/** Models stored in this origin. */
let list: StoredModel[] = [];
/** The settings when the dialog was opened. */
let settings: Settings;

function showTemperature(): void {
  const value = temperature.valueAsNumber;
  temperatureValue.textContent = value === 0 ? "0 (always the most likely word)" : value.toFixed(1);
}

async function showStored(): Promise<void> {
  list = await TabLM.models.list().catch(() => []);
  const total = list.reduce((sum, model) => sum + model.sizeBytes, 0);
  stored.textContent =
    list.length > 0
      ? `Models stored in this browser: ${bytes(total)}.`
      : "No model is stored in this browser.";
  remove.hidden = list.length === 0;
}

function open(): void {
  settings = readSettings();
  system.value = settings.system;
  temperature.valueAsNumber = settings.temperature;
  maxTokens.valueAsNumber = settings.maxTokens;
  showTemperature();
  dialog.showModal();
  void showStored();
}

/** Connects the dialog. */
export function connectSettings(): void {
  element("open-settings").addEventListener("click", open);
  temperature.addEventListener("input", showTemperature);
  closeOnBackdrop(dialog);
  dialog.addEventListener("close", () => {
    const tokens = Math.floor(maxTokens.valueAsNumber);
    // Only changes are stored: settings of a link, which the dialog also shows, are not.
    storeSettings({
      ...(system.value !== settings.system && { system: system.value }),
      ...(temperature.valueAsNumber !== settings.temperature && {
        temperature: temperature.valueAsNumber,
      }),
      ...(tokens >= 1 && tokens <= 4096 && tokens !== settings.maxTokens && { maxTokens: tokens }),
    });
  });
  remove.addEventListener("click", () => {
    void Promise.allSettled(list.map((model) => TabLM.models.delete(model.id))).then(showStored);
  });
}
