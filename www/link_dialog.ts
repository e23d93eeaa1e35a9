/**
 * The dialog that asks before a link's model, hub or system prompt is used. It shows them in full,
 * and nothing is fetched for the link until the visitor agrees.
 */

import { agreeToLink, readUnapprovedLink, refuseLink } from "./settings.js";
import { element } from "./dom.js";

const dialog = element<HTMLDialogElement>("link");

/**
 * Replaces invisible and direction-changing characters by visible marks such as `⟨U+202E⟩`. Line
 * breaks, tabs and the joiners within emoji stay.
 */
function markInvisible(text: string): string {
  const mark = (character: string): string =>
    `⟨U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  return text.replace(/[\p{C}\p{Default_Ignorable_Code_Point}]/gu, (character) =>
    /[\n\t\u200d\ufe0f]/.test(character) ? character : mark(character),
  );
}

/** Shows an address and its host, or hides that part of the dialog. */
function showAddress(part: "link-model" | "link-hub", address: string | null): void {
  element(part).hidden = address === null;
  if (address === null) return;
  const host = URL.canParse(address) ? new URL(address).host : "";
  element(`${part}-host`).textContent =
    host === location.host ? `this site, ${host}` : host || "an unreadable address";
  element(`${part}-address`).textContent = markInvisible(address);
}

/** Asks about settings of the link that the visitor has not accepted before, if it has any. */
export function askAboutLink(): Promise<void> {
  const link = readUnapprovedLink();
  if (!link) return Promise.resolve();
  showAddress("link-model", link.model);
  showAddress("link-hub", link.hub);
  element("link-system").hidden = link.system === null;
  element("link-system-text").textContent = markInvisible(link.system ?? "");
  dialog.showModal();
  return new Promise((resolve) => {
    const settle = (): void => {
      if (dialog.returnValue === "use") agreeToLink();
      else refuseLink();
      resolve();
    };
    dialog.addEventListener("close", settle, { once: true });
  });
}
