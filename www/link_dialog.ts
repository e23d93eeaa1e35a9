/**
 * The question before a link's model or system prompt is used: it shows what the link brings, in full. Nothing
 * is fetched for it before it is answered with yes.
 */

import { agreeToLink, readLink, refuseLink } from "./settings.js";
import { element } from "./view.js";

const dialog = element<HTMLDialogElement>("link");

/** Text with marks in place of what would hide in it, or turn it round; such characters of emoji stay. */
function visible(text: string): string {
  const mark = (character: string): string =>
    `⟨U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  return text.replace(/[\p{C}\p{Default_Ignorable_Code_Point}]/gu, (character) =>
    /[\n\t\u200d\ufe0f]/.test(character) ? character : mark(character),
  );
}

/** Shows an address and whose it is, or hides its part of the dialog. */
function showAddress(part: "link-model" | "link-hub", address: string | null): void {
  element(part).hidden = address === null;
  if (address === null) return;
  const host = URL.canParse(address) ? new URL(address).host : "";
  element(`${part}-host`).textContent =
    host === location.host ? `this site, ${host}` : host || "no address that can be read";
  element(`${part}-address`).textContent = visible(address);
}

/** Asks about what the link brings that its reader has not chosen before; there is mostly nothing. */
export function askAboutLink(): Promise<void> {
  const link = readLink();
  if (!link) return Promise.resolve();
  showAddress("link-model", link.model);
  showAddress("link-hub", link.hub);
  element("link-system").hidden = link.system === null;
  element("link-system-text").textContent = visible(link.system ?? "");
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
