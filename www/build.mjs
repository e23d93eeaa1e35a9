// Builds www/dist/, the static site: the page's script and stylesheet, the published package, the
// service worker with the list of files it caches, and the default model.

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
import { isolation, metaPolicy } from "./security_headers.mjs";

const here = import.meta.dirname;
const root = join(here, "..");
const { build } = createRequire(join(root, "pkg", "package.json"))("esbuild");

const MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf";
/** Folder of the engine's wasm builds, one folder each; a browser needs only one of them. */
const WASM_BUILDS = "tablm/wasm";
/** Files whose names never change, beside `index.html` and `sw.js`. */
const STABLE_FILES = ["icon.svg", "manifest.webmanifest"];

/** Leaves the package out of the bundle: the page imports the published files themselves. */
const publishedPackage = {
  name: "published-package",
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
  // The paths in tsconfig.json serve type checking only.
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
 * Builds the site into the folder `out`, keeping only `out/models`. The page's files go into a
 * folder named by a hash of their contents, so that no cache can mix files of two versions.
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
  const { metafile } = await build({
    ...common,
    entryPoints: [join(here, "main.ts"), join(here, "style.css")],
    outdir: unnamed,
    metafile: true,
    plugins: [publishedPackage],
  });
  const packageNotices = readFileSync(join(packageFolder, NOTICES), "utf8");
  writeFileSync(
    join(out, NOTICES),
    `${notices("Built into the page", bundled(metafile))}\n${packageNotices}`,
  );

  const index = readFileSync(join(here, "index.html"), "utf8").replace("%CSP%", metaPolicy);
  for (const file of STABLE_FILES) copyFileSync(join(here, file), join(out, file));
  const hashes = Object.fromEntries(
    listFiles(unnamed).map((file) => [file, sha256(readFileSync(join(unnamed, file)))]),
  );
  const stableHashes = Object.fromEntries(
    STABLE_FILES.map((file) => [file, sha256(readFileSync(join(out, file)))]),
  );
  const folder = sha256(JSON.stringify([hashes, stableHashes, index])).slice(0, 16);
  renameSync(unnamed, join(out, folder));
  writeFileSync(join(out, "index.html"), index.replaceAll("%FOLDER%", folder));

  const files = Object.entries(hashes);
  const select = (isWanted) =>
    Object.fromEntries(
      files.filter(([file]) => isWanted(file)).map(([file, hash]) => [`${folder}/${file}`, hash]),
    );
  const names = readdirSync(join(out, folder, WASM_BUILDS));
  const define = {
    FOLDER: folder,
    SHELL: select((file) => !file.startsWith(`${WASM_BUILDS}/`)),
    BUILDS: Object.fromEntries(
      names.map((name) => [name, select((file) => file.startsWith(`${WASM_BUILDS}/${name}/`))]),
    ),
    // index.html comes last, because caching it switches to this version. It has no hash: its
    // version is the folder it names.
    STABLE_FILES: { ...stableHashes, "index.html": "" },
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

/**
 * Puts the default model beside the page: a hard link where the file system allows, else a copy.
 */
function placeModel(dist) {
  const cache = process.env.TABLM_CACHE || join(homedir(), ".cache", "tablm");
  const source = join(cache, "models", MODEL);
  const target = join(dist, "models", MODEL);
  if (!existsSync(source))
    return console.warn(`page: ${source} is missing; the page will find no default model`);
  if (existsSync(target) && statSync(target).size === statSync(source).size) return;
  mkdirSync(join(dist, "models"), { recursive: true });
  rmSync(target, { force: true });
  try {
    linkSync(source, target);
  } catch {
    copyFileSync(source, target);
  }
}

if (process.argv[1] === import.meta.filename) {
  const out = join(here, "dist");
  await buildSite({ out });
  placeModel(out);
}
