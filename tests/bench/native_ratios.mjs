// Ratios of TabLM's own speeds, natively on the GPU: prefill over decode, the state-space scan by
// chunks over token by token, and decoding late in the context over early.

import { makeModel, tablm } from "./commands.mjs";
import { modelPath } from "./model.mjs";
import { summarize } from "./results.mjs";

const RUNS = 5;
const PROMPT_TOKENS = 512;
const GENERATE_TOKENS = 33;
/**
 * Layers in about the full model's proportions: two mixers, a feed-forward layer, an attention
 * layer. The vocabulary is small, because the output layer would dominate otherwise.
 */
const CUT = ["--layers", "0,1,2,32", "--vocabulary", 1024];
const MIXER = ["--layers", "0", "--vocabulary", 1024];
/** Pairs of tokens, a second each; other programs change the ratio of a single pair by a tenth. */
const PAIRS = 21;
const EARLY_POSITION = 64;
const LATE_POSITION = 4000;

const gpuBench = (model, options) => tablm(["bench"], { model, backend: "gpu", ...options });

async function prefillOverDecode(model) {
  const counts = { promptTokens: PROMPT_TOKENS, generateTokens: GENERATE_TOKENS, repeat: 1 };
  const { timings } = await gpuBench(model, counts);
  return timings.prefill_tokens_per_s / timings.decode_tokens_per_s;
}

/**
 * Prefill speed of 512 tokens over decoding speed, for two models; the key without a model's name
 * is the smaller ratio.
 */
export const prefillVsDecode = {
  name: "prefill_vs_decode",
  minutes: 5,
  keys: ["prefill_vs_decode", "prefill_vs_decode.smollm2", "prefill_vs_decode.nemotron4b_cut"],
  async measure(put) {
    const models = { smollm2: modelPath, nemotron4b_cut: await makeModel("nemotron4b", ...CUT) };
    const found = { smollm2: [], nemotron4b_cut: [] };
    for (let run = 0; run < RUNS; run += 1) {
      for (const [name, model] of Object.entries(models))
        found[name].push(await prefillOverDecode(model));
    }
    for (const [name, values] of Object.entries(found))
      put(`prefill_vs_decode.${name}`, values, "ratio");
    const [smaller] = Object.values(found).sort(
      (a, b) => summarize(a).median - summarize(b).median,
    );
    put("prefill_vs_decode", smaller, "ratio");
  },
};

/**
 * Time of the state-space scan of 512 tokens, token by token over by chunks, from the profile of a
 * single mixer layer.
 */
export const ssdVsScan = {
  name: "ssd_vs_scan",
  minutes: 1,
  keys: ["ssd_vs_scan"],
  async measure(put) {
    const model = await makeModel("nemotron4b", ...MIXER);
    const options = { profile: true, kernels: "ssm_", promptTokens: PROMPT_TOKENS, repeat: 1 };
    const ratios = [];
    for (let run = 0; run < RUNS; run += 1) {
      const { steps } = (await gpuBench(model, options)).profile;
      const [decodeUs, prefillUs] = steps.map(
        ({ kernels, rows }) => kernels.reduce((sum, { us }) => sum + us, 0) / rows,
      );
      ratios.push(decodeUs / prefillUs);
    }
    put("ssd_vs_scan", ratios, "ratio");
  },
};

/**
 * Decoding speed at position 4,000 over position 64, of full-size Nemotron 3 Nano. The state is all
 * zeros: a step's time does not depend on its values.
 */
export const decodeDecay = {
  name: "decode_decay",
  minutes: 2,
  keys: ["decode_decay"],
  async measure(put) {
    const model = await makeModel("nemotron4b");
    const at = `${EARLY_POSITION},${LATE_POSITION}`;
    const { steps } = (await gpuBench(model, { profile: true, at, repeat: PAIRS })).profile;
    const [earlyUs, lateUs] = steps.map(({ runs_us }) => runs_us);
    const ratios = earlyUs.map((us, run) => us / lateUs[run]);
    put("decode_decay", ratios, "ratio");
  },
};
