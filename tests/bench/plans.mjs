// What the plans of the models of real sizes say, from headers alone: no weight is read.

import { header, tablm } from "./full_size.mjs";

const MODELS = [
  // With matrices in our 4.5 bits, and as the official file has them.
  { key: "nemotron4b", file: "nemotron4b", options: ["--quantize", "T4"] },
  { key: "nemotron4b_gguf", file: "nemotron4b", options: [] },
  { key: "llama_minitron_width", file: "minitron_width", options: [] },
];
const FIGURES = { dispatches: "dispatches", weight_bytes: "bytes" };

/** A part of the benchmark, see parts.mjs. */
export const plans = {
  name: "plans",
  minutes: 0.2,
  keys: MODELS.flatMap(({ key }) => Object.keys(FIGURES).map((figure) => `${key}.step.${figure}`)),
  async measure(put) {
    for (const { key, file, options } of MODELS) {
      const { step } = await tablm("inspect", await header(file), ...options);
      for (const [figure, unit] of Object.entries(FIGURES))
        put(`${key}.step.${figure}`, step[figure], unit);
    }
  },
};
