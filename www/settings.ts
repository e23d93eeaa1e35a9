/**
 * What the visitor may set: from the address (for links and tests), else as kept in this browser. A link's model,
 * hub and system prompt count once the visitor has agreed to them: `askAboutLink` comes before everything else.
 */

import { TabLM, type DeviceChoice } from "tablm";
import { DEFAULT_MODEL } from "./catalogue.js";

/** Settings of the answers. */
export interface Settings {
  system: string;
  temperature: number;
  maxTokens: number;
  /** Whether a model that can do both thinks before it answers. */
  thinking: boolean;
  /** The model of the last visit; `null` for the page's own. */
  model: string | null;
  /** What the visitor once chose, or agreed to of a link. */
  agreed: string[];
}

/** What a link brings, as addresses and text; `null` for what it leaves to the visitor. */
export interface Link {
  model: string | null;
  hub: string | null;
  system: string | null;
}

/** What only the address can say. */
export interface AddressSettings {
  model: string | null;
  /** Where `hf:` models come from, if not from huggingface.co. */
  hub: string | null;
  device: DeviceChoice;
  contextLength: number | null;
  seed: number | null;
}

const KEY = "tablm-settings";
// Small models lose their thread at higher temperatures; 0.2 is what the default one's makers recommend.
const DEFAULTS: Settings = {
  system: "",
  temperature: 0.2,
  maxTokens: 1024,
  thinking: true,
  model: null,
  agreed: [],
};
/** Of what was agreed to, the latest. */
const MAX_AGREED = 50;
const DEVICES: readonly string[] = ["auto", "webgpu", "cpu"];

/** Of the address, what is in force. */
const address = new URLSearchParams(location.search);
/** What the address calls a setting. */
const IN_ADDRESS: Partial<Record<keyof Settings, string>> = {
  system: "system",
  temperature: "temperature",
  maxTokens: "max_tokens",
  model: "model",
};

function number(text: string | null, min: number, max: number): number | null {
  const value = text === null || text === "" ? NaN : Number(text);
  return value >= min && value <= max ? value : null;
}

/** Checks what was kept: another version of this page may have written it. */
function readKept(): Partial<Settings> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    const kept = value as Partial<Record<keyof Settings, unknown>>;
    return {
      ...(typeof kept.system === "string" && { system: kept.system }),
      ...(typeof kept.temperature === "number" && { temperature: kept.temperature }),
      ...(typeof kept.maxTokens === "number" && { maxTokens: kept.maxTokens }),
      ...(typeof kept.thinking === "boolean" && { thinking: kept.thinking }),
      ...(typeof kept.model === "string" && { model: kept.model }),
      ...(Array.isArray(kept.agreed) && {
        agreed: kept.agreed.filter((item) => typeof item === "string"),
      }),
    };
  } catch {
    return {};
  }
}

/** The settings in force; the address wins. */
export function readSettings(): Settings {
  const settings = { ...DEFAULTS, ...readKept() };
  return {
    ...settings,
    system: address.get("system") ?? settings.system,
    temperature: number(address.get("temperature"), 0, 2) ?? settings.temperature,
    maxTokens: number(address.get("max_tokens"), 1, 4096) ?? settings.maxTokens,
  };
}

/** Keeps what the visitor changed for the next visit; in this one it counts more than the address. */
export function keepSettings(changed: Partial<Settings>): void {
  for (const name of Object.keys(changed)) address.delete(IN_ADDRESS[name as keyof Settings] ?? "");
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...readKept(), ...changed }));
  } catch {
    // Private windows may have no storage; the settings then last as long as the page.
  }
}

/** Where a model is, of what somebody wrote for it. */
function addressOf(model: string, hub: string | null): string {
  try {
    return TabLM.resolve(model, hub === null ? {} : { hubUrl: new URL(hub, document.baseURI) });
  } catch {
    return model;
  }
}

function link(): Link {
  const [model, hub, system] = ["model", "hub", "system"].map((name) => address.get(name));
  return {
    model: model == null ? null : addressOf(model, hub ?? null),
    hub: hub == null ? null : addressOf(hub, null),
    system: system ?? null,
  };
}

/** As it is noted that the visitor agreed. */
const notes = (link: Link): string[] =>
  Object.entries(link).flatMap(([name, value]) => (value === null ? [] : [`${name} ${value}`]));

/** What the link brings, if that is anything the visitor has not chosen, agreed to, or has from the page itself. */
export function readLink(): Link | null {
  const own = { ...DEFAULTS, ...readKept() };
  const models = [DEFAULT_MODEL, own.model ?? DEFAULT_MODEL].map(
    (model) => `model ${addressOf(model, null)}`,
  );
  const known = [...own.agreed, ...models, `system ${own.system}`, "system "];
  const brought = link();
  return notes(brought).every((note) => known.includes(note)) ? null : brought;
}

function agree(link: Link): void {
  const added = notes(link);
  keepSettings({
    agreed: [...(readKept().agreed ?? []).filter((note) => !added.includes(note)), ...added].slice(
      -MAX_AGREED,
    ),
  });
}

/** Uses what the link brings, and asks about it no more. */
export function agreeToLink(): void {
  agree(link());
}

/** Notes that the visitor chose a model. */
export function agreeToModel(model: string): void {
  agree({ model: addressOf(model, address.get("hub")), hub: null, system: null });
}

/** Leaves the visitor's own settings in force, now and when the page is loaded again. */
export function refuseLink(): void {
  for (const name of ["model", "hub", "system"]) address.delete(name);
  const rest = address.toString();
  history.replaceState(
    history.state,
    "",
    `${location.pathname}${rest && `?${rest}`}${location.hash}`,
  );
}

/** What the address asks for: `?model=…&hub=…&device=cpu&context=1024&seed=1`. */
export function readAddress(): AddressSettings {
  const device = address.get("device") ?? "auto";
  return {
    model: address.get("model"),
    hub: address.get("hub"),
    device: (DEVICES.includes(device) ? device : "auto") as DeviceChoice,
    contextLength: number(address.get("context"), 1, 1 << 20),
    seed: number(address.get("seed"), 0, Number.MAX_SAFE_INTEGER),
  };
}
