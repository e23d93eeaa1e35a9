// llama.cpp's chat templates render as in Jinja2, and large chats stay within the budget.
// `.ci/setup.sh llama-cpp python` fetches the templates and Jinja2; the tests that compare are in
// tests/text/.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const CACHE = process.env.TABLM_CACHE ?? join(homedir(), ".cache/tablm");
const TESTS = [
  "chat_templates::templates_render_as_in_jinja",
  "chat_templates::a_large_chat_with_tools_is_within_the_budget",
];

test("llama.cpp's chat templates render as in Jinja2", () => {
  const folder = mkdtempSync(join(tmpdir(), "tablm-"));
  try {
    const run = (command, parameters, env) => {
      const options = { encoding: "utf8", timeout: 900_000, env: { ...process.env, ...env } };
      const { status, stdout, stderr } = spawnSync(command, parameters, options);
      assert.equal(status, 0, `${stdout}${stderr}`.slice(-4000));
      return stdout;
    };
    const collection = join(folder, "collection.json");
    const templates = join(CACHE, "llama.cpp/0.3.36/templates");
    run(join(CACHE, "python/bin/python"), ["tests/proof/templates.py", templates, collection]);
    const test = ["test", "--release", "--locked", "--test", "text"];
    const parameters = [...test, "--", "--nocapture", ...TESTS];
    const output = run("cargo", parameters, { TABLM_TEMPLATES: collection });
    const [, count, different] = /(\d+) prompts are compared, (\d+) cases differ/.exec(output);
    assert.ok(Number(count) > 4000 && Number(different) === 0, output.slice(-4000));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
