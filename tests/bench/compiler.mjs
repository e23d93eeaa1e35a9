// What a real GPU's compiler makes of the hot kernels (compiler.rs), against what it made of them
// when compiler_budgets.json was written: `ACCEPT_BUDGETS=1 make bench ONLY=compiler` writes it anew.

import { execFile } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { header } from "./full_size.mjs";
import { modelPath, nativeBinary } from "./model.mjs";

const BUDGETS = join(import.meta.dirname, "compiler_budgets.json");
const ICD = "/usr/share/vulkan/icd.d/radeon_icd.x86_64.json";
/** RDNA2 and GCN5. */
const CHIPS = ["navi21", "renoir"];
/** How much worse than its budget a figure may be. */
export const TOLERANCE = 1.1;

async function statistics(chip, models) {
  const program = join(dirname(nativeBinary), "examples", "compiler");
  const env = {
    ...process.env,
    RADV_FORCE_FAMILY: chip,
    VK_ICD_FILENAMES: ICD,
    VK_DRIVER_FILES: ICD,
  };
  const { stdout } = await promisify(execFile)(program, models, { env, maxBuffer: 1 << 28 });
  return JSON.parse(stdout);
}

/**
 * What is worse than its budget by more than the tolerance, new or gone, as lines; and the worst
 * ratio of all. Budgets of another version of the compiler do not bind.
 */
export function compare(budgets, found) {
  const problems = [];
  let worst = 0;
  for (const [chip, { compiler, kernels }] of Object.entries(found)) {
    const budget = budgets[chip];
    if (budget && budget.compiler !== compiler) {
      problems.push(`${chip}: budgets are of ${budget.compiler}, found ${compiler}`);
      continue;
    }
    for (const [name, figures] of Object.entries(kernels)) {
      const known = budget?.kernels[name];
      if (!known) problems.push(`${chip} ${name}: no budget`);
      for (const [figure, value] of Object.entries(known ? figures : {})) {
        const ratio = known[figure] > 0 ? value / known[figure] : value > 0 ? Infinity : 1;
        worst = Math.max(worst, ratio);
        if (ratio > TOLERANCE)
          problems.push(`${chip} ${name}: ${value} ${figure}, budget ${known[figure]}`);
      }
    }
    const gone = Object.keys(budget?.kernels ?? {}).filter((name) => !kernels[name]);
    problems.push(...gone.map((name) => `${chip} ${name}: has a budget and is gone`));
  }
  return { problems, worst };
}

/** A kernel's name as a part of a key. */
const keyOf = (name) => name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "_");

/** A part of the benchmark, see parts.mjs. */
export const compiler = {
  name: "compiler",
  minutes: 0.2,
  // One figure each for what the models' plans hold.
  keys: ["compiler."],
  async measure(put) {
    if (!existsSync(ICD))
      throw new Error(
        `no ${ICD}: Mesa's RADV compiles for chips that are not there (Debian: mesa-vulkan-drivers)`,
      );
    const nemotron = await header("nemotron4b");
    const models = [modelPath, nemotron, `${nemotron}@T4`, await header("minitron_width")];
    const found = {};
    for (const chip of CHIPS) {
      found[chip] = await statistics(chip, models);
      for (const [name, figures] of Object.entries(found[chip].kernels)) {
        for (const [figure, value] of Object.entries(figures))
          put(`compiler.${chip}.${keyOf(name)}.${figure}`, value, "count");
      }
    }
    if (process.env.ACCEPT_BUDGETS === "1")
      writeFileSync(BUDGETS, `${JSON.stringify(found, null, 2)}\n`);
    const { problems, worst } = compare(JSON.parse(readFileSync(BUDGETS, "utf8")), found);
    put("compiler.worst_vs_budget", worst, "ratio");
    for (const problem of problems) process.stderr.write(`bench: ${problem}\n`);
    if (problems.length > 0)
      throw new Error(
        "see above; ACCEPT_BUDGETS=1 make bench ONLY=compiler makes these figures the budgets",
      );
  },
};
