// Dispatches and weight bytes per step of full-size models, from their plans. Headers suffice: no
// weight is read.

import { makeHeader, tablm } from "./commands.mjs";

const MODELS = [
  // The official file, with its matrices quantized to T4 (4.5 bits per weight), and unchanged.
  { key: "nemotron4b", file: "nemotron4b", options: { quantize: "T4" } },
  { key: "nemotron4b_gguf", file: "nemotron4b", options: {} },
  { key: "llama_minitron_width", file: "minitron_width", options: {} },
];
const FIGURES = { dispatches: "dispatches", weight_bytes: "bytes" };

/** The part of the benchmark (see parts.mjs). */
export const plans = {
  name: "plans",
  minutes: 0.2,
  keys: MODELS.flatMap(({ key }) => Object.keys(FIGURES).map((figure) => `${key}.step.${figure}`)),
  async measure(put) {
    for (const { key, file, options } of MODELS) {
      const { step } = await tablm(["inspect", await makeHeader(file)], options);
      for (const [figure, unit] of Object.entries(FIGURES))
        put(`${key}.step.${figure}`, step[figure], unit);
    }
  },
};
