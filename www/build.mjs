// Builds dist/, the static site: the page's script, the package as it is published, the
// service worker with the list of what it keeps, and the default model.

import { createHash } from "node:crypto";
import {
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join, relative } from "node:path";
import { NOTICES, bundled, notices } from "../.ci/notices.mjs";
import { isolation, metaPolicy } from "./csp.mjs";

const here = import.meta.dirname;
const root = join(here, "..");
const { build } = createRequire(join(root, "pkg", "package.json"))("esbuild");

const MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf";
/** The engine's builds, of which a browser needs one. */
const WASM = "tablm/wasm";
/** Files that browsers know by their names, beside `index.html` and `sw.js`. */
const LASTING = ["icon.svg", "manifest.webmanifest"];

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

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/**
 * Builds the site into a folder, in which nothing but models stays. What a page consists of is in a folder
 * named by what it holds, so that no version ever meets a file of another, in whatever cache that is.
 */
export async function buildSite({ out, packageFolder = join(root, "pkg", "dist") }) {
  mkdirSync(out, { recursive: true });
  for (const name of readdirSync(out))
    if (name !== "models") rmSync(join(out, name), { recursive: true });
  const unnamed = join(out, "unnamed");
  cpSync(packageFolder, join(unnamed, "tablm"), {
    recursive: true,
    filter: (path) => !path.endsWith(".d.ts") && !path.endsWith(NOTICES),
  });
  copyFileSync(join(here, "style.css"), join(unnamed, "style.css"));
  const main = {
    entryPoints: [join(here, "main.ts")],
    outfile: join(unnamed, "main.js"),
    metafile: true,
  };
  const { metafile } = await build({ ...common, ...main, plugins: [packageAsPublished] });
  const ofPackage = readFileSync(join(packageFolder, NOTICES), "utf8");
  writeFileSync(
    join(out, NOTICES),
    `${notices("Built into the page", bundled(metafile))}\n${ofPackage}`,
  );

  const index = readFileSync(join(here, "index.html"), "utf8").replace("%CSP%", metaPolicy);
  for (const file of LASTING) copyFileSync(join(here, file), join(out, file));
  const hashes = Object.fromEntries(
    listFiles(unnamed).map((file) => [file, sha256(readFileSync(join(unnamed, file)))]),
  );
  const lasting = Object.fromEntries(
    LASTING.map((file) => [file, sha256(readFileSync(join(out, file)))]),
  );
  const folder = sha256(JSON.stringify([hashes, lasting, index])).slice(0, 16);
  renameSync(unnamed, join(out, folder));
  writeFileSync(join(out, "index.html"), index.replaceAll("%FOLDER%", folder));

  const files = Object.entries(hashes);
  const pick = (isWanted) =>
    Object.fromEntries(
      files.filter(([file]) => isWanted(file)).map(([file, hash]) => [`${folder}/${file}`, hash]),
    );
  const names = readdirSync(join(out, folder, WASM));
  const define = {
    FOLDER: folder,
    SHELL: pick((file) => !file.startsWith(`${WASM}/`)),
    BUILDS: Object.fromEntries(
      names.map((name) => [name, pick((file) => file.startsWith(`${WASM}/${name}/`))]),
    ),
    // The page last: from then on it is of this version. It names its folder, which says more than a hash.
    LASTING: { ...lasting, "index.html": "" },
    ISOLATION: isolation,
  };
  await build({
    ...common,
    format: "iife",
    entryPoints: [join(here, "sw.ts")],
    outfile: join(out, "sw.js"),
    define: Object.fromEntries(
      Object.entries(define).map(([name, value]) => [name, JSON.stringify(value)]),
    ),
  });
}

/** The default model beside the page: a hard link where the file system allows, else a copy. */
function placeModel(dist) {
  const cache = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");
  const from = join(cache, "models", MODEL);
  const to = join(dist, "models", MODEL);
  if (!existsSync(from))
    return console.warn(`page: ${from} is missing; the page will find no default model`);
  if (existsSync(to) && statSync(to).size === statSync(from).size) return;
  mkdirSync(join(dist, "models"), { recursive: true });
  rmSync(to, { force: true });
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

if (process.argv[1] === import.meta.filename) {
  const out = join(here, "dist");
  await buildSite({ out });
  placeModel(out);
}
