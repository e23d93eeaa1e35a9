// Statistics of a real GPU's compiler for the hot kernels (see compiler.rs), checked against
// compiler_budgets.json. `ACCEPT_BUDGETS=1 make bench ONLY=compiler` rewrites that file.

import { execFile } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { makeHeader } from "./commands.mjs";
import { modelPath, nativeBinary } from "./model.mjs";

const BUDGETS = join(import.meta.dirname, "compiler_budgets.json");
const ICD = "/usr/share/vulkan/icd.d/radeon_icd.x86_64.json";
/** Chips to compile for: RDNA 2 and GCN 5. */
const CHIPS = ["navi21", "renoir"];
/** Largest allowed ratio of a figure to its budget. */
export const MAX_RATIO = 1.1;

/** Compiles the hot kernels of the models for a chip and returns the compiler's statistics. */
async function compileFor(chip, models) {
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
 * Compares figures with their budgets. Returns a line for each figure over its budget and each
 * kernel that is new or gone, and the worst ratio. Budgets of another compiler version are one
 * problem.
 */
export function compare(budgets, found) {
  const problems = [];
  let worst = 0;
  for (const [chip, { compiler, kernels }] of Object.entries(found)) {
    const budget = budgets[chip];
    if (budget && budget.compiler !== compiler) {
      problems.push(
        `${chip}: compiler: found ${compiler}, expected ${budget.compiler} as in the budgets`,
      );
      continue;
    }
    for (const [name, figures] of Object.entries(kernels)) {
      const limits = budget?.kernels[name];
      if (!limits) {
        problems.push(`${chip} ${name}: has no budget`);
        continue;
      }
      for (const [figure, value] of Object.entries(figures)) {
        const limit = limits[figure];
        const ratio = limit > 0 ? value / limit : value > 0 ? Infinity : 1;
        worst = Math.max(worst, ratio);
        if (ratio > MAX_RATIO)
          problems.push(`${chip} ${name}: ${figure}: found ${value}, expected at most ${limit}`);
      }
    }
    const gone = Object.keys(budget?.kernels ?? {}).filter((name) => !kernels[name]);
    problems.push(...gone.map((name) => `${chip} ${name}: has a budget but no plan uses it`));
  }
  return { problems, worst };
}

/** Returns a kernel's name in the form that keys have. */
const keyOf = (name) => name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "_");

/** The part of the benchmark (see parts.mjs). */
export const compiler = {
  name: "compiler",
  minutes: 0.2,
  // A prefix: the figures depend on the kernels in the models' plans.
  keys: ["compiler."],
  async measure(put) {
    if (!existsSync(ICD))
      throw new Error(
        `${ICD} is missing: Mesa's RADV compiles without the chips (Debian: mesa-vulkan-drivers)`,
      );
    const nemotron = await makeHeader("nemotron4b");
    const models = [modelPath, nemotron, `${nemotron}@T4`, await makeHeader("minitron_width")];
    const found = {};
    for (const chip of CHIPS) {
      found[chip] = await compileFor(chip, models);
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
        "see above; ACCEPT_BUDGETS=1 make bench ONLY=compiler accepts these figures as budgets",
      );
  },
};
