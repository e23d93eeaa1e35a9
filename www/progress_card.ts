/** The card that shows the progress of loading a model. */

import type { Progress, ProgressPhase } from "tablm";
import { bytes, duration } from "./format.js";
import { element } from "./dom.js";

const TITLES: Record<ProgressPhase, string> = {
  download: "Downloading",
  verify: "Verifying",
  upload: "Preparing the weights",
  compile: "Compiling the kernels",
  warmup: "Warming up",
};

const card = element("loading");
const title = element("loading-title");
const percent = element("loading-percent");
const bar = element<HTMLProgressElement>("loading-bar");
const detail = element("loading-detail");

/** Shows the card before the first progress report. */
export function showLoading(name: string): void {
  card.hidden = false;
  title.textContent = `Loading ${name}`;
  percent.textContent = "";
  bar.removeAttribute("value");
  detail.textContent = "\u00a0";
}

/** Hides the card. */
export function hideLoading(): void {
  card.hidden = true;
}

/** Shows a progress report. */
export function showProgress(name: string, progress: Progress): void {
  const { phase, loadedBytes, totalBytes, bytesPerSecond, etaSeconds } = progress;
  card.hidden = false;
  title.textContent =
    phase === "download" || phase === "verify" ? `${TITLES[phase]} ${name}` : TITLES[phase];
  card.dataset["phase"] = phase;
  if (totalBytes) {
    const share = Math.min(1, loadedBytes / totalBytes);
    bar.value = share;
    percent.textContent = `${Math.floor(share * 100)} %`;
  } else {
    bar.removeAttribute("value");
    percent.textContent = "";
  }
  const inBytes = phase === "download" || phase === "verify" || phase === "upload";
  const parts: string[] = [];
  if (inBytes && loadedBytes)
    parts.push(totalBytes ? `${bytes(loadedBytes)} of ${bytes(totalBytes)}` : bytes(loadedBytes));
  if (inBytes && bytesPerSecond) parts.push(`${bytes(bytesPerSecond)}/s`);
  if (inBytes && etaSeconds && loadedBytes !== totalBytes)
    parts.push(`${duration(etaSeconds)} left`);
  detail.textContent = parts.join(" · ") || "\u00a0";
}
