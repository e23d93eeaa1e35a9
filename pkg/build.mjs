// Builds dist/ from src/: two modules (index.js, worker.js) and their types.
// The wasm and its glue (dist/wasm/) are put there by .ci/build.sh. Scripts lose comments and
// blanks, and keep their names, so that what a page loads can still be read.

import { build, transform } from "esbuild";
import { spawnSync } from "node:child_process";
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NOTICES, bundled, crates, notices } from "../.ci/notices.mjs";

const here = import.meta.dirname;
const path = (...parts) => join(here, ...parts);

const compact = {
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "inline",
  minifySyntax: true,
  minifyWhitespace: true,
};

const { metafile } = await build({
  entryPoints: [path("src/index.ts"), path("src/worker.ts")],
  outdir: path("dist"),
  bundle: true,
  ...compact,
  // The glue finds its wasm by its own URL, so it must stay a file of its own.
  external: ["./wasm/*"],
  logLevel: "warning",
  metafile: true,
});

for (const name of readdirSync(path("dist", "wasm"))) {
  const glue = path("dist", "wasm", name, "tablm.js");
  const { code } = await transform(readFileSync(glue, "utf8"), compact);
  writeFileSync(glue, code);
}

const tsc = spawnSync(
  path("node_modules/.bin/tsc"),
  ["--project", here, "--emitDeclarationOnly", "--outDir", path("dist")],
  {
    stdio: "inherit",
  },
);
if (tsc.status !== 0) process.exit(1);

for (const file of ["LICENSE-MIT", "LICENSE-APACHE", "NOTICE"])
  copyFileSync(path("..", file), path(file));
writeFileSync(
  path("dist", NOTICES),
  notices("Built into the package", [...bundled(metafile), ...crates()]),
);
