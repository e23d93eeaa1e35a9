/**
 * Measurements of this machine's adapters by earlier loads, kept in this origin beside the models.
 */

import { ownFolder, readText, writeText } from "./opfs.js";

const TUNING_FILE = "tuning.json";
/** Largest file that is read; the engine writes far smaller ones. */
const MAX_TUNING_BYTES = 1 << 16;

/** Reads the stored measurements, "" where there are none; `undefined` without storage. */
export async function readTuning(): Promise<string | undefined> {
  const folder = await ownFolder();
  if (!folder) return undefined;
  const text = await readText(folder, TUNING_FILE).catch(() => null);
  return text !== null && text.length <= MAX_TUNING_BYTES ? text : "";
}

/** Stores the measurements of a load. If that fails, the next load measures again. */
export async function writeTuning(text: string): Promise<void> {
  const folder = await ownFolder();
  if (folder) await writeText(folder, TUNING_FILE, text).catch(() => undefined);
}
