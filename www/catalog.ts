/**
 * The models that the page offers by name. Memory is for a context of 4096 tokens; the dialog asks
 * the hub for exact figures when an entry is opened.
 */

/** A model in the catalog. */
export interface Entry {
  name: string;
  /** The source to pass to `TabLM.load`. */
  source: string;
  note: string;
  downloadBytes: number;
  memoryBytes: number;
  /** The license's name, and the address of its text or of the page that names it. */
  license: { name: string; url: string };
}

/** The model that is served with the page, relative to it. */
export const DEFAULT_MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf";

const HUB = "https://huggingface.co";

/** The catalog, smallest model first. */
export const CATALOG: readonly Entry[] = [
  {
    name: "SmolLM2 135M",
    source: DEFAULT_MODEL,
    note: "Comes with this page. Fast, and often wrong.",
    downloadBytes: 98_362_432,
    memoryBytes: 310e6,
    license: { name: "Apache 2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
  },
  {
    name: "Gemma 3 270M",
    source: "hf:ggml-org/gemma-3-270m-it-GGUF/gemma-3-270m-it-Q8_0.gguf",
    note: "Google’s smallest model, in many languages.",
    downloadBytes: 291_545_600,
    memoryBytes: 480e6,
    license: { name: "Gemma Terms of Use", url: `${HUB}/google/gemma-3-270m-it` },
  },
  {
    name: "Llama 3.1 Nemotron Nano 4B",
    source:
      "hf:lmstudio-community/Llama-3.1-Nemotron-Nano-4B-v1.1-GGUF/" +
      "Llama-3.1-Nemotron-Nano-4B-v1.1-Q4_K_M.gguf",
    note: "Can think before it answers.",
    downloadBytes: 2_778_285_312,
    memoryBytes: 3.9e9,
    license: {
      name: "NVIDIA Open Model License, Llama 3.1 Community License",
      url: `${HUB}/nvidia/Llama-3.1-Nemotron-Nano-4B-v1.1`,
    },
  },
  {
    name: "Nemotron 3 Nano 4B",
    source: "hf:nvidia/NVIDIA-Nemotron-3-Nano-4B-GGUF/NVIDIA-Nemotron3-Nano-4B-Q4_K_M.gguf",
    note: "The most capable of these, in English. Can think before it answers, and use tools.",
    downloadBytes: 2_837_072_864,
    memoryBytes: 3.1e9,
    license: {
      name: "NVIDIA Nemotron Open Model License",
      url: `${HUB}/nvidia/NVIDIA-Nemotron-3-Nano-4B-GGUF`,
    },
  },
];
