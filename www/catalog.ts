/** Models that the page offers by name: the one that comes with it, and the package's catalog. */

import { TabLM, type CatalogEntry } from "tablm";

/** The model that is served with the page, relative to it. */
export const DEFAULT_MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf";

const OWN_MODEL: CatalogEntry = {
  name: "SmolLM2 135M",
  source: DEFAULT_MODEL,
  format: "Q4_1",
  goodFor: "trying things out; comes with this page, fast and often wrong",
  downloadBytes: 98_362_432,
  isComputed: false,
  memoryBytes: 310e6,
  license: { name: "Apache 2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
  fits: true,
};

/** Models by name, the page's own first. */
export const CATALOG: readonly CatalogEntry[] = [OWN_MODEL, ...TabLM.catalog()];
