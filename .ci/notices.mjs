// Third-party notices of the package and the page: all Rust crates in the wasm and all bundled npm
// packages, each with its license texts.

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** File name of the notices in the package and in the page. */
export const NOTICES = "THIRD_PARTY_NOTICES.txt";

const root = join(import.meta.dirname, "..");
const TARGET = "wasm32-unknown-unknown";
const TEXT_NAMES = /^(licen[cs]es?|copying|copyright|notice|unlicense)([-._].*)?$/i;

const run = (command, ...parameters) =>
  execFileSync(command, parameters, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 });

/** Reads the license files of a folder, including those in a folder LICENSES. */
function licenseTexts(folder) {
  const entries = readdirSync(folder, { withFileTypes: true }).filter((entry) =>
    TEXT_NAMES.test(entry.name),
  );
  const names = entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  return names.flatMap((entry) =>
    entry.isDirectory()
      ? licenseTexts(join(folder, entry.name))
      : [readFileSync(join(folder, entry.name), "utf8")],
  );
}

/** Returns the standard text of a license, for a package without a license file. */
function standardText({ name, license, authors }) {
  if (/Apache-2\.0/.test(license)) return readFileSync(join(root, "LICENSE-APACHE"), "utf8");
  const holder = authors.join(", ") || `the authors of ${name}`;
  const text = readFileSync(join(root, "LICENSE-MIT"), "utf8").replace(
    /^Copyright .*$/m,
    `Copyright (c) ${holder}`,
  );
  if (/MIT/.test(license)) return text;
  throw new Error(`${name}: license: found ${license} without a text, expected MIT or Apache-2.0`);
}

/** Returns an entry with the license texts of the package's folder, or else the standard text. */
function withTexts(entry, folder) {
  const found = licenseTexts(folder);
  return { ...entry, texts: found.length > 0 ? found : [standardText(entry)] };
}

/**
 * Returns the entry of Rust's standard library, with the licenses in its sources. The crates that
 * it depends on have the same licenses.
 */
function standardLibrary() {
  const sysroot = run("rustc", "--print", "sysroot").trim();
  const library = join(sysroot, "lib/rustlib/src/rust/library");
  const folders = ["backtrace", "compiler-builtins", "compiler-builtins/libm"].map((name) =>
    join(library, name),
  );
  return {
    name: "Rust standard library (with compiler-builtins, dlmalloc, hashbrown and others)",
    version: run("rustc", "--version").split(" ")[1],
    license: "MIT OR Apache-2.0; compiler-builtins also Apache-2.0 WITH LLVM-exception",
    source: "https://github.com/rust-lang/rust",
    texts: folders.filter(existsSync).flatMap(licenseTexts),
  };
}

/** Returns the entry of ggml, whose code books src/formats/iq_grids.rs contains. */
function ggml() {
  const entry = {
    name: "ggml (code books of weight formats)",
    version: "0.25",
    license: "MIT",
    source: "https://github.com/ggml-org/ggml",
    authors: ["2023-2026 The ggml authors"],
  };
  return { ...entry, texts: [standardText(entry)] };
}

/** Returns the crates linked into the wasm, without procedural macros and build dependencies. */
export function crates() {
  const edges = ["--edges", "normal,no-proc-macro"];
  const format = ["--prefix", "none", "--format", "{p}"];
  const tree = run("cargo", "tree", "--locked", "--target", TARGET, ...edges, ...format);
  const linked = new Set(tree.split("\n").map((line) => line.split(" ").slice(0, 2).join(" ")));
  const { packages } = JSON.parse(
    run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET),
  );
  const others = packages.filter(
    (it) => it.name !== "tablm" && linked.has(`${it.name} v${it.version}`),
  );
  const entries = others.map((it) => {
    const entry = {
      name: it.name,
      version: it.version,
      license: it.license,
      source: it.repository,
      authors: it.authors,
    };
    return withTexts(entry, dirname(it.manifest_path));
  });
  return [...entries, standardLibrary(), ggml()];
}

/** Returns the npm packages that a bundle contains, from esbuild's metafile. */
export function bundled(metafile) {
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.entries(output.inputs));
  const used = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([path]) => path);
  const folders = used
    .map((path) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(path)?.[0])
    .filter(Boolean);
  return [...new Set(folders)].sort().map((folder) => {
    const it = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const entry = {
      name: it.name,
      version: it.version,
      license: it.license,
      source: it.homepage,
      authors: [it.author?.name ?? it.author].filter(Boolean),
    };
    return withTexts(entry, folder);
  });
}

/** Formats the document: a list of packages, then every license text once, with its packages. */
export function notices(title, entries) {
  const named = ({ name, version }) => `${name} ${version}`;
  const list = entries.map(
    (entry) => `- ${named(entry)}: ${entry.license}${entry.source ? `, ${entry.source}` : ""}`,
  );
  const byText = new Map();
  for (const entry of entries) {
    for (const text of entry.texts) {
      const key = text.replace(/\s+/g, " ").trim();
      if (!byText.has(key))
        byText.set(key, { text: text.replace(/\r/g, "").replace(/^\n+|\s+$/g, ""), packages: [] });
      byText.get(key).packages.push(named(entry));
    }
  }
  const line = "-".repeat(80);
  const parts = [...byText.values()].map(
    ({ text, packages }) => `${line}\n${packages.join(", ")}\n${line}\n\n${text}\n`,
  );
  return [`${title}\n${"-".repeat(title.length)}\n${list.join("\n")}\n`, ...parts].join("\n");
}
