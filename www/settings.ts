/** What the visitor may set: from the address (for links and tests), else as kept in this browser. */

import type { DeviceChoice } from "tablm";

/** Settings of the answers. */
export interface Settings {
  system: string;
  temperature: number;
  maxTokens: number;
  /** Whether a model that can do both thinks before it answers. */
  thinking: boolean;
  /** The model of the last visit; `null` for the page's own. */
  model: string | null;
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
const DEFAULTS: Settings = { system: "", temperature: 0.2, maxTokens: 1024, thinking: true, model: null };
const DEVICES: readonly string[] = ["auto", "webgpu", "cpu"];

const address = new URLSearchParams(location.search);

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

/** Keeps changed settings for the next visit. */
export function keepSettings(changed: Partial<Settings>): void {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...readKept(), ...changed }));
  } catch {
    // Private windows may have no storage; the settings then last as long as the page.
  }
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
