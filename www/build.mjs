// Builds dist/, the static site: the page's script, the package as it is published, the
// service worker with the list of what it keeps, and the default model.

import { createHash } from "node:crypto";
import { copyFileSync, cpSync, existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join, relative } from "node:path";
import { NOTICES, bundled, notices } from "../.ci/notices.mjs";
import { isolation, metaPolicy } from "./csp.mjs";

const here = import.meta.dirname;
const root = join(here, "..");
const dist = join(here, "dist");
const { build } = createRequire(join(root, "pkg", "package.json"))("esbuild");

const MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf";
/** The engine's builds, of which a browser needs one. */
const WASM = "tablm/wasm";
const STATIC = ["style.css", "icon.svg", "manifest.webmanifest"];

/** The package is not bundled: the page imports the very files that are published. */
const packageAsPublished = {
  name: "package-as-published",
  setup(bundler) {
    bundler.onResolve({ filter: /^tablm$/ }, () => ({ path: "./tablm/index.js", external: true }));
  },
};

const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  minify: true,
  legalComments: "inline",
  nodePaths: [join(root, "pkg", "node_modules")],
  // The paths of tsconfig.json are for types alone.
  tsconfigRaw: {},
  logLevel: "warning",
};

function listFiles(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .sort();
}

/** The default model beside the page: a hard link where the file system allows, else a copy. */
function placeModel() {
  const cache = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");
  const from = join(cache, "models", MODEL);
  const to = join(dist, "models", MODEL);
  if (!existsSync(from)) return console.warn(`page: ${from} is missing; the page will find no default model`);
  if (existsSync(to) && statSync(to).size === statSync(from).size) return;
  mkdirSync(join(dist, "models"), { recursive: true });
  rmSync(to, { force: true });
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

mkdirSync(dist, { recursive: true });
rmSync(join(dist, "tablm"), { recursive: true, force: true });
cpSync(join(root, "pkg", "dist"), join(dist, "tablm"), {
  recursive: true,
  filter: (path) => !path.endsWith(".d.ts") && !path.endsWith(NOTICES),
});
for (const file of STATIC) copyFileSync(join(here, file), join(dist, file));
writeFileSync(join(dist, "index.html"), readFileSync(join(here, "index.html"), "utf8").replace("%CSP%", metaPolicy));
const { metafile } = await build({ ...common, entryPoints: [join(here, "main.ts")], outfile: join(dist, "main.js"), metafile: true, plugins: [packageAsPublished] });
const ofPackage = readFileSync(join(root, "pkg", "dist", NOTICES), "utf8");
writeFileSync(join(dist, NOTICES), `${notices("Built into the page", bundled(metafile))}\n${ofPackage}`);

const files = listFiles(dist).filter((file) => !file.startsWith("models/") && file !== "sw.js" && file !== NOTICES);
const isOf = (build) => (file) => file.startsWith(`${WASM}/${build}/`);
const names = readdirSync(join(dist, WASM));
const builds = Object.fromEntries(names.map((build) => [build, files.filter(isOf(build))]));
const shell = files.filter((file) => !file.startsWith(`${WASM}/`));
const hash = createHash("sha256");
for (const file of files) hash.update(file).update("\0").update(readFileSync(join(dist, file)));
const version = hash.digest("hex").slice(0, 16);
await build({
  ...common,
  format: "iife",
  entryPoints: [join(here, "sw.ts")],
  outfile: join(dist, "sw.js"),
  define: { SHELL: JSON.stringify(shell), BUILDS: JSON.stringify(builds), VERSION: JSON.stringify(version), ISOLATION: JSON.stringify(isolation) },
});
placeModel();
