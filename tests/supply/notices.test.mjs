// The third-party notices of package and page list all included code with its license texts. The
// tests find the included code independently of .ci/notices.mjs: crates in cargo's report of the
// build, npm packages in the imports of the sources.

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

/** Returns `NAME VERSION` of the crates compiled for the wasm, from cargo's report of the build. */
function crates() {
  const target = "wasm32-unknown-unknown";
  const folder = join(process.env.CARGO_TARGET_DIR || "target", "wasm-simd");
  // The build of .ci/build.sh, which is up to date.
  const build = ["build", "--profile", "web", "--target", target, "--target-dir", folder];
  const parameters = [...build, "--lib", "--locked", "--message-format", "json"];
  const options = { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 };
  const lines = execFileSync("cargo", parameters, options).split("\n");
  const messages = lines.filter(Boolean).map((line) => JSON.parse(line));
  const compiled = messages.filter(
    ({ reason, filenames }) =>
      reason === "compiler-artifact" && filenames.some((file) => file.includes(`/${target}/`)),
  );
  const titles = compiled.map(({ package_id: id }) =>
    /[/#]([\w-]+)[#@](\d[^#@]*)$/.exec(id).slice(1).join(" "),
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

/** Parses notices: the list of packages, and the license texts with the packages they are for. */
function parse(path) {
  const text = readFileSync(join(root, path), "utf8");
  const list = [...text.matchAll(/^- (.*?): \S/gm)].map((match) => match[1]);
  const texts = [...text.matchAll(/^-{80}\n(.+)\n-{80}\n\n([^]*?)(?=\n-{80}\n|(?![^]))/gm)].map(
    ([, packages, body]) => ({ packages: packages.split(", "), body }),
  );
  return { list, texts };
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
      const own = texts.filter(({ packages }) => packages.includes(title));
      assert.ok(
        own.some(({ body }) => PHRASES.some((phrase) => phrase.test(body))),
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
      const file = ["LICENSE", "LICENSE.md"].find((file) => existsSync(join(folder, file)));
      const lines = readFileSync(join(folder, file), "utf8").split("\n");
      const firstLine = lines.find((line) => /copyright|license/i.test(line)).trim();
      assert.ok(
        texts.some(({ packages, body }) => packages.includes(title) && body.includes(firstLine)),
        `${path}: no license of ${title}`,
      );
    }
  });
}

test("the page links to its notices, and the package's notices cover its bundles", () => {
  const html = readFileSync(join(root, "www/dist/index.html"), "utf8");
  assert.match(html, /href="THIRD_PARTY_NOTICES\.txt"/);
  const { list } = parse(OUTPUTS.package);
  for (const bundle of ["pkg/dist/index.js", "pkg/dist/worker.js"]) {
    // esbuild precedes each module by a comment with its path.
    const module = /^\/\/ .*?node_modules\/((?:@[^/]+\/)?[^/]+)\//gm;
    const names = [...readFileSync(join(root, bundle), "utf8").matchAll(module)].map(
      ([, name]) => name,
    );
    for (const name of new Set(names))
      assert.ok(
        list.some((title) => title.startsWith(`${name} `)),
        `${bundle}: ${name}`,
      );
  }
});
