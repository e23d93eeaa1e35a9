// The third-party notices of package and page list all included code, each with a license text. The
// test finds that code independently of the build: crates from cargo's report, npm packages from
// imports.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..", "..");
const OUTPUTS = {
  package: "pkg/dist/THIRD_PARTY_NOTICES.txt",
  page: "www/dist/THIRD_PARTY_NOTICES.txt",
};

/**
 * Returns the crates that cargo compiled for the wasm, from its report of the build (.ci/build.sh).
 */
function crates() {
  const target = "wasm32-unknown-unknown";
  const folder = join(process.env.CARGO_TARGET_DIR || "target", "wasm-simd");
  const parameters = [
    "build",
    "--profile",
    "web",
    "--target",
    target,
    "--target-dir",
    folder,
    "--lib",
    "--locked",
    "--message-format",
    "json",
  ];
  const lines = execFileSync("cargo", parameters, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  }).split("\n");
  const artifacts = lines
    .filter(Boolean)
    .map((line) => JSON.parse(line))
    .filter((it) => it.reason === "compiler-artifact");
  const compiled = artifacts.filter((it) =>
    it.filenames.some((file) => file.includes(`/${target}/`)),
  );
  const titles = compiled.map((it) =>
    /[/#]([\w-]+)[#@](\d[^#@]*)$/.exec(it.package_id).slice(1).join(" "),
  );
  return [...new Set(titles)].filter((title) => !title.startsWith("tablm "));
}

/** Returns the npm packages that the sources of a folder import, except for types. */
function imported(folder) {
  const sources = readdirSync(join(root, folder)).filter((file) => file.endsWith(".ts"));
  const pattern = /^(?:import|export) (?!type\b)[\w\s{},*]*?from "((?:@[^/"]+\/)?[^./"][^/"]*)/gm;
  const names = sources.flatMap((file) =>
    [...readFileSync(join(root, folder, file), "utf8").matchAll(pattern)].map((match) => match[1]),
  );
  return [...new Set(names)].filter((name) => name !== "tablm");
}

/** Parses a document: its list of packages, and the texts with their packages. */
function parse(path) {
  const text = readFileSync(join(root, path), "utf8");
  const list = [...text.matchAll(/^- (.*?): \S/gm)].map((match) => match[1]);
  const texts = [...text.matchAll(/^-{80}\n(.+)\n-{80}\n\n([^]*?)(?=\n-{80}\n|(?![^]))/gm)].map(
    ([, of, body]) => ({ of: of.split(", "), body }),
  );
  return { text, list, texts };
}

/** Phrases of license texts; a text must contain one of them. */
const PHRASES = [
  /Permission is hereby granted/i,
  /Apache License\s+Version 2\.0/,
  /Redistribution and use in source/,
  /This software is provided 'as-is'/,
  /Boost Software License/,
  /Mozilla Public License/,
  /public domain/,
  /UNICODE LICENSE/i,
];

for (const [output, path] of Object.entries(OUTPUTS)) {
  test(`every crate of the wasm has its license in the ${output}`, () => {
    const { list, texts } = parse(path);
    const expected = crates();
    assert.ok(expected.length > 80, `${expected.length} crates`);
    for (const title of expected) {
      assert.ok(list.includes(title), `${path}: ${title} is not listed (run make build)`);
      const bodies = texts.filter(({ of }) => of.includes(title)).map(({ body }) => body);
      assert.ok(
        bodies.some((body) => PHRASES.some((phrase) => phrase.test(body))),
        `${path}: no license of ${title}`,
      );
    }
    assert.ok(
      list.some((name) => name.startsWith("Rust standard library")),
      path,
    );
  });

  test(`every bundled npm package has its license in the ${output}`, () => {
    const expected = [...imported("pkg/src"), ...(output === "page" ? imported("www") : [])];
    assert.ok(
      expected.includes("@noble/hashes") && (output !== "page" || expected.length >= 3),
      `${expected}`,
    );
    const { list, texts } = parse(path);
    for (const name of expected) {
      const folder = join(root, "pkg/node_modules", name);
      const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      const title = `${name} ${version}`;
      assert.ok(list.includes(title), `${path}: ${title} is not listed`);
      const own = readFileSync(
        join(
          folder,
          ["LICENSE", "LICENSE.md"].find((file) => existsSync(join(folder, file))),
        ),
        "utf8",
      );
      const firstLine = own
        .split("\n")
        .find((line) => /copyright|license/i.test(line))
        .trim();
      assert.ok(
        texts.some(({ of, body }) => of.includes(title) && body.includes(firstLine)),
        `${path}: no license of ${title}`,
      );
    }
  });
}

test("the page links to the notices, and they cover all bundles", () => {
  assert.match(
    readFileSync(join(root, "www/dist/index.html"), "utf8"),
    /href="THIRD_PARTY_NOTICES\.txt"/,
  );
  for (const [bundle, output] of [
    ["pkg/dist/index.js", "package"],
    ["pkg/dist/worker.js", "package"],
  ]) {
    const { list } = parse(OUTPUTS[output]);
    const used = [
      ...readFileSync(join(root, bundle), "utf8").matchAll(
        /^\/\/ .*?node_modules\/((?:@[^/]+\/)?[^/]+)\//gm,
      ),
    ].map((match) => match[1]);
    for (const name of new Set(used))
      assert.ok(
        list.some((title) => title.startsWith(`${name} `)),
        `${bundle}: ${name}`,
      );
  }
});
