/** What the engine measured of this machine's adapters, kept in this origin beside the models. */

import { ownFolder, readText, writeText } from "./opfs.js";

const VERDICTS = "verdicts.json";
/** The engine keeps far less: a longer file is none of its own. */
const MAX_BYTES = 1 << 16;

/** What is kept, empty at first; `undefined` where nothing can be. */
export async function readVerdicts(): Promise<string | undefined> {
  const folder = await ownFolder();
  if (!folder) return undefined;
  const text = await readText(folder, VERDICTS).catch(() => null);
  return text !== null && text.length <= MAX_BYTES ? text : "";
}

/** Keeps what a load measured. If it cannot be, the next load measures again. */
export async function keepVerdicts(text: string): Promise<void> {
  const folder = await ownFolder();
  if (folder) await writeText(folder, VERDICTS, text).catch(() => undefined);
}
