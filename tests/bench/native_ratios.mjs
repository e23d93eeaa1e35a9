// Ratios of TabLM's own speeds, natively on the GPU: prefill over decode, the state-space scan by
// chunks over token by token, and late over early decoding.

import { makeModel, tablm } from "./full_size.mjs";
import { modelPath } from "./model.mjs";
import { summarize } from "./results.mjs";

const RUNS = 5;
const TOKENS = 512;
const FEW_TOKENS = 33;
/**
 * Layers in about the full model's proportions: two mixers, a feed-forward layer, an attention
 * layer. A small vocabulary, because the output layer would dominate otherwise.
 */
const CUT = ["--layers", "0,1,2,32", "--vocabulary", 1024];
const MIXER = ["--layers", "0", "--vocabulary", 1024];
/** Pairs of tokens, a second each; other programs change a single pair by a tenth. */
const PAIRS = 21;
const EARLY_POSITION = 64;
const LATE_POSITION = 4000;

const gpu = (model, ...options) => tablm("bench", "--model", model, "--backend", "gpu", ...options);

async function prefillOverDecode(model) {
  const counts = ["--prompt-tokens", TOKENS, "--generate-tokens", FEW_TOKENS, "--repeat", 1];
  const { timings } = await gpu(model, ...counts);
  return timings.prefill_tokens_per_s / timings.decode_tokens_per_s;
}

/**
 * Prefill over decode speed at 512 tokens; the key without a model's name is the smaller of the
 * two.
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
 * Speed of the scan of 512 tokens by chunks over token by token: a mixer without its projections.
 */
export const ssdVsScan = {
  name: "ssd_vs_scan",
  minutes: 1,
  keys: ["ssd_vs_scan"],
  async measure(put) {
    const model = await makeModel("nemotron4b", ...MIXER);
    const ratios = [];
    for (let run = 0; run < RUNS; run += 1) {
      const counts = ["--profile", "--kernels", "ssm_", "--prompt-tokens", TOKENS, "--repeat", 1];
      const { steps } = (await gpu(model, ...counts)).profile;
      const [token, chunk] = steps.map(
        ({ kernels, rows }) => kernels.reduce((sum, { us }) => sum + us, 0) / rows,
      );
      ratios.push(token / chunk);
    }
    put("ssd_vs_scan", ratios, "ratio");
  },
};

/**
 * Decoding speed at position 4,000 over that at position 64, of the full-size hybrid model. The
 * state is all zeros: a step's time does not depend on its values.
 */
export const decodeDecay = {
  name: "decode_decay",
  minutes: 2,
  keys: ["decode_decay"],
  async measure(put) {
    const positions = [
      "--profile",
      "--at",
      `${EARLY_POSITION},${LATE_POSITION}`,
      "--repeat",
      PAIRS,
    ];
    const { steps } = (await gpu(await makeModel("nemotron4b"), ...options)).profile;
    const [early, late] = steps.map(({ runs_us }) => runs_us);
    put(
      "decode_decay",
      early.map((us, run) => us / late[run]),
      "ratio",
    );
  },
};
