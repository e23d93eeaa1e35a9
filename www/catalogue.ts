/** The models the page offers by name. Figures are for 4096 positions; the hub's own are asked for when a model is looked at. */

/** One model. */
export interface Entry {
  name: string;
  /** What `TabLM.load` takes. */
  source: string;
  note: string;
  downloadBytes: number;
  memoryBytes: number;
  /** Its name, and where its text or the page that names it is. */
  license: { name: string; url: string };
}

/** Served with the page. */
export const DEFAULT_MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf";

const HUB = "https://huggingface.co";

/** The catalogue, smallest first. */
export const CATALOGUE: readonly Entry[] = [
  {
    name: "SmolLM2 135M",
    source: DEFAULT_MODEL,
    note: "Comes with this page. Quick, and often wrong.",
    downloadBytes: 98_362_432,
    memoryBytes: 310e6,
    license: { name: "Apache 2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
  },
  {
    name: "Gemma 3 270M",
    source: "hf:ggml-org/gemma-3-270m-it-GGUF/gemma-3-270m-it-Q8_0.gguf",
    note: "Google’s smallest, in many languages.",
    downloadBytes: 291_545_600,
    memoryBytes: 480e6,
    license: { name: "Gemma Terms of Use", url: `${HUB}/google/gemma-3-270m-it` },
  },
  {
    name: "Llama 3.1 Nemotron Nano 4B",
    source:
      "hf:lmstudio-community/Llama-3.1-Nemotron-Nano-4B-v1.1-GGUF/Llama-3.1-Nemotron-Nano-4B-v1.1-Q4_K_M.gguf",
    note: "Thinks before it answers, if asked to.",
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
    note: "The most able of these, in English. Thinks before it answers, and can use tools.",
    downloadBytes: 2_837_072_864,
    memoryBytes: 3.1e9,
    license: {
      name: "NVIDIA Nemotron Open Model License",
      url: `${HUB}/nvidia/NVIDIA-Nemotron-3-Nano-4B-GGUF`,
    },
  },
];
