/**
 * Settings from the page's address (for links and tests) or as stored in this browser. A link's
 * model, hub and system prompt apply only after the visitor has agreed to them, so `askAboutLink`
 * must run before any setting is read.
 */

import { TabLM, type DeviceChoice } from "tablm";
import { DEFAULT_MODEL } from "./catalog.js";

/** Settings that are stored between visits. */
export interface Settings {
  system: string;
  temperature: number;
  maxTokens: number;
  /** True if a model that offers the choice should think before it answers. */
  thinking: boolean;
  /** The source of the last visit's model; `null` for the default model. */
  model: string | null;
  /** Settings of links that the visitor agreed to, and models they chose, as `{name} {value}`. */
  agreed: string[];
}

/**
 * Settings in the page's address that need the visitor's consent; `null` for those it leaves out.
 */
export interface LinkSettings {
  model: string | null;
  hub: string | null;
  system: string | null;
}

/** Settings that only the page's address can set. */
export interface AddressSettings {
  model: string | null;
  /** The base address for `hf:` models in place of huggingface.co. */
  hub: string | null;
  device: DeviceChoice;
  contextLength: number | null;
  seed: number | null;
}

const STORAGE_KEY = "tablm-settings";
// Small models become incoherent at higher temperatures; SmolLM2's authors recommend 0.2.
const DEFAULTS: Settings = {
  system: "",
  temperature: 0.2,
  maxTokens: 1024,
  thinking: true,
  model: null,
  agreed: [],
};
/** Limit of `Settings.agreed`; the oldest entries are dropped. */
const MAX_AGREED = 50;
const DEVICES: readonly string[] = ["auto", "webgpu", "cpu"];

/** Parameters of the page's address, without those that the visitor changed or refused. */
const address = new URLSearchParams(location.search);
/** Parameter of the page's address for a setting. */
const ADDRESS_NAMES: Partial<Record<keyof Settings, string>> = {
  system: "system",
  temperature: "temperature",
  maxTokens: "max_tokens",
  model: "model",
};

function number(text: string | null, min: number, max: number): number | null {
  const value = text === null || text === "" ? NaN : Number(text);
  return value >= min && value <= max ? value : null;
}

/** Reads the stored settings, checking types: another version of the page may have written them. */
function readStored(): Partial<Settings> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}");
    const stored = value as Partial<Record<keyof Settings, unknown>>;
    return {
      ...(typeof stored.system === "string" && { system: stored.system }),
      ...(typeof stored.temperature === "number" && { temperature: stored.temperature }),
      ...(typeof stored.maxTokens === "number" && { maxTokens: stored.maxTokens }),
      ...(typeof stored.thinking === "boolean" && { thinking: stored.thinking }),
      ...(typeof stored.model === "string" && { model: stored.model }),
      ...(Array.isArray(stored.agreed) && {
        agreed: stored.agreed.filter((item) => typeof item === "string"),
      }),
    };
  } catch {
    return {};
  }
}

/** Returns the current settings: those of the address, then the stored ones, then the defaults. */
export function readSettings(): Settings {
  const settings = { ...DEFAULTS, ...readStored() };
  return {
    ...settings,
    system: address.get("system") ?? settings.system,
    temperature: number(address.get("temperature"), 0, 2) ?? settings.temperature,
    maxTokens: number(address.get("max_tokens"), 1, 4096) ?? settings.maxTokens,
  };
}

/** Stores settings that the visitor changed; from now on they override the address. */
export function storeSettings(changed: Partial<Settings>): void {
  for (const name of Object.keys(changed))
    address.delete(ADDRESS_NAMES[name as keyof Settings] ?? "");
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify({ ...readStored(), ...changed }));
  } catch {
    // Private windows may have no storage; the settings then last until the page is closed.
  }
}

/** Resolves a model's source to its full address; returns the source itself where that fails. */
function resolveAddress(model: string, hub: string | null): string {
  try {
    return TabLM.resolve(model, hub === null ? {} : { hubUrl: new URL(hub, document.baseURI) });
  } catch {
    return model;
  }
}

/** Returns the settings in the page's address that need consent, with model and hub resolved. */
function linkSettings(): LinkSettings {
  const [model, hub, system] = ["model", "hub", "system"].map((name) => address.get(name));
  return {
    model: model == null ? null : resolveAddress(model, hub ?? null),
    hub: hub == null ? null : resolveAddress(hub, null),
    system: system ?? null,
  };
}

/** Returns the entries for `Settings.agreed`. */
const consentEntries = (link: LinkSettings): string[] =>
  Object.entries(link).flatMap(([name, value]) => (value === null ? [] : [`${name} ${value}`]));

/**
 * Returns the link's settings if any of them is neither a default nor chosen or agreed to before,
 * and `null` otherwise.
 */
export function readUnapprovedLink(): LinkSettings | null {
  const own = { ...DEFAULTS, ...readStored() };
  const models = [DEFAULT_MODEL, own.model ?? DEFAULT_MODEL].map(
    (model) => `model ${resolveAddress(model, null)}`,
  );
  const known = [...own.agreed, ...models, `system ${own.system}`, "system "];
  const link = linkSettings();
  return consentEntries(link).every((entry) => known.includes(entry)) ? null : link;
}

function storeConsent(link: LinkSettings): void {
  const added = consentEntries(link);
  storeSettings({
    agreed: [
      ...(readStored().agreed ?? []).filter((entry) => !added.includes(entry)),
      ...added,
    ].slice(-MAX_AGREED),
  });
}

/** Accepts the link's settings, now and on later visits. */
export function agreeToLink(): void {
  storeConsent(linkSettings());
}

/** Records that the visitor chose a model, so that a link to it needs no consent. */
export function agreeToModel(model: string): void {
  storeConsent({ model: resolveAddress(model, address.get("hub")), hub: null, system: null });
}

/**
 * Removes the link's settings from the address, so that they stay refused when the page is
 * reloaded.
 */
export function refuseLink(): void {
  for (const name of ["model", "hub", "system"]) address.delete(name);
  const rest = address.toString();
  history.replaceState(
    history.state,
    "",
    `${location.pathname}${rest && `?${rest}`}${location.hash}`,
  );
}

/** Reads the address: `?model=…&hub=…&device=cpu&context=1024&seed=1`. */
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
