// Sessions in Chromium: saved conversations continue after a reload, in another tab and on another
// device; several conversations of one model do not evict each other; a snapshot beside the model
// is used from the first request on.

import assert from "node:assert/strict";
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { allowNoGpu, fileRoute, native, openHarness, root, tiny } from "./support.mjs";

/** A hybrid, and a model whose state can be truncated. */
const MODELS = ["nemotron_h-g8x1", "qwen3-tied"];
const TEMPLATE = join(root, "tests", "data", "text", "templates", "nemotron.jinja");
/** Devices for a model: a software adapter compiles the pipelines of the hybrid alone. */
const devicesOf = (model) => (allowNoGpu || model !== MODELS[0] ? ["cpu"] : ["cpu", "webgpu"]);
/** Most tokens of a question, an answer without its reasoning, and the template around them. */
const TURN = 64;
/** A system message that many conversations have. */
const BEGINNING = "a plan is data: kernels in order over named buffers, written at load. ".repeat(
  3,
);

/** Defines `start`, `ask` and `turns` in a page; models stay in `window.models`. */
const helpers = ({ TabLM }, chatTemplate) => {
  window.models = new Map();
  window.start = async (source, device, options = {}) => {
    const given = { device, contextLength: 900, kvFormat: "f32", chatTemplate, ...options };
    const model = await TabLM.load(source, given);
    window.models.set(source + device, model);
    return model;
  };
  window.ask = (model, messages, options) =>
    model.chat.completions.create(
      { messages, temperature: 0, max_completion_tokens: 12, reasoning_effort: "high" },
      options,
    );
  /** Messages of a conversation before its answer number `turn`. */
  window.turns = (name, turn) => {
    const content = `conversation ${name}: a plan is data, kernels in order. `.repeat(4);
    const messages = [{ role: "system", content }];
    for (let past = 0; past <= turn; past += 1) {
      if (past > 0) messages.push({ role: "assistant", content: `answer ${past}` });
      messages.push({ role: "user", content: `question ${past} on layers` });
    }
    return messages;
  };
  /** The ids of an answer, and how many tokens of its prompt were read. */
  window.summary = ({ token_ids, usage }) => {
    const { prompt_tokens, prompt_tokens_details } = usage;
    return { ids: token_ids, read: prompt_tokens - prompt_tokens_details.cached_tokens };
  };
};

describe("sessions", () => {
  let harness;
  const template = readFileSync(TEMPLATE, "utf8");
  before(async () => {
    const files = MODELS.flatMap((model) => readdirSync(tiny(model)).map((it) => join(model, it)));
    const routes = Object.fromEntries(
      files.map((file) => [`/tiny/${file}`, fileRoute(tiny(file))]),
    );
    harness = await openHarness({ routes });
    await harness.run(helpers, template);
  });
  after(() => harness?.close());

  const source = (model) => `/tiny/${model}`;

  /** Loads the page again, without its models. */
  const reload = async () => {
    await harness.page.reload();
    await harness.page.evaluate(async () => void (window.tablm = await import("/tablm/index.js")));
    await harness.run(helpers, template);
  };

  for (const model of MODELS) {
    test(`continue after a reload and on every device: ${model}`, async () => {
      const expected = await harness.run(
        async (_, [source]) => {
          const model = await start(source, "cpu");
          const answers = [];
          for (let turn = 0; turn < 5; turn += 1)
            answers.push(summary(await ask(model, turns("a", turn))).ids);
          await model.dispose();
          return answers;
        },
        [source(model)],
      );
      const route = devicesOf(model).flatMap((device) => [device, device]);
      for (const [turn, device] of route.entries()) {
        const found = await harness.run(
          async (_, [source, device, turn]) => {
            const model = await start(source, device);
            const restored = turn > 0 ? await model.sessions.restore("a") : { tokens: 0 };
            const answer = summary(await ask(model, turns("a", turn)));
            const saved = await model.sessions.save("a");
            const list = await model.sessions.list();
            await model.dispose();
            return { ...answer, ...restored, size: saved.size, list };
          },
          [source(model), device, turn],
        );
        assert.deepEqual(found.ids, expected[turn], `${device}, turn ${turn}`);
        assert.ok(turn === 0 || found.tokens > TURN, `${found.tokens} tokens`);
        assert.ok(turn === 0 || found.read <= TURN, `${device}, turn ${turn}: read ${found.read}`);
        const [{ id, sizeBytes, problem, savedAt, tokens }] = found.list;
        assert.deepEqual(
          { id, sizeBytes, problem },
          { id: "a", sizeBytes: found.size, problem: null },
        );
        assert.ok(Math.abs(Date.now() - savedAt) < 60_000 && tokens >= found.tokens);
        await reload();
      }
      const deleted = await harness.run(
        async (_, [source]) => {
          const model = await start(source, "cpu");
          const deleted = [await model.sessions.delete("a"), await model.sessions.delete("a")];
          const list = await model.sessions.list();
          await model.dispose();
          return { deleted, list };
        },
        [source(model)],
      );
      assert.deepEqual(deleted, { deleted: [true, false], list: [] });
    });
  }

  test("continue in another tab while the first goes on", async () => {
    const url = source("qwen3-tied");
    const save = async (_, [source]) => {
      const model = await start(source, "cpu");
      await ask(model, turns("b", 0));
      await model.sessions.save("tab");
    };
    await harness.run(save, [url]);
    const other = await harness.browser.context.newPage();
    await other.goto(harness.page.url());
    await other.evaluate(async () => void (window.tablm = await import("/tablm/index.js")));
    await other.evaluate(`(${helpers})(window.tablm, ${JSON.stringify(template)})`);
    const elsewhere = await other.evaluate(async (source) => {
      const model = await start(source, "cpu");
      await model.sessions.restore("tab");
      return summary(await ask(model, turns("b", 1)));
    }, url);
    const here = await harness.run(
      async (_, [source]) => {
        const model = window.models.get(`${source}cpu`);
        const answer = summary(await ask(model, turns("b", 1)));
        await model.sessions.delete("tab");
        await model.dispose();
        return answer;
      },
      [url],
    );
    await other.close();
    assert.deepEqual(elsewhere, here);
    assert.ok(here.read <= TURN);
  });

  test("are refused with the reason, and the conversation goes on", async () => {
    const found = await harness.run(async (_, [source, foreign]) => {
      const other = await start(foreign, "cpu");
      await ask(other, turns("c", 0));
      const another = await other.sessions.save();
      await other.dispose();
      const model = await start(source, "cpu");
      const early = await model.sessions.save().catch(({ code, message }) => ({ code, message }));
      await ask(model, turns("c", 0));
      const saved = await model.sessions.save();
      const small = await model.sessions.save(undefined, { kvFormat: "q8" });
      const bytes = new Uint8Array(await saved.arrayBuffer());
      const changed = (change) => {
        const copy = bytes.slice();
        change(copy);
        return new Blob([copy]);
      };
      const cases = {
        "cut off": saved.slice(0, saved.size - 9),
        "almost empty": saved.slice(0, 9),
        corrupt: changed((copy) => (copy[copy.length - 100] ^= 1)),
        future: changed((copy) => (copy[8] = 99)),
        foreign: another,
        "of another kind": new Blob([new Uint8Array(1000)]),
        missing: "nothing",
        "of no name": "../a",
        "no session": 5,
      };
      const refusals = {};
      for (const [name, value] of Object.entries(cases)) {
        refusals[name] = await model.sessions.restore(value).then(
          () => "restored",
          ({ code, message }) => ({ code, message }),
        );
      }
      const id = await model.sessions.save("a/b").catch(({ code }) => code);
      const format = await model.sessions.save("a", { kvFormat: "f8" }).catch(({ code }) => code);
      const next = summary(await ask(model, turns("c", 1)));
      await model.sessions.restore(saved);
      const again = summary(await ask(model, turns("c", 1)));
      await model.sessions.restore(small);
      const rounded = summary(await ask(model, turns("c", 1)));
      const list = await model.sessions.list();
      await model.dispose();
      const sizes = [small.size, saved.size];
      return { early, refusals, id, format, next, again, rounded, list, sizes };
    }, ["qwen3-tied", "nemotron_h-g8x1"].map(source));
    assert.equal(found.early.code, "invalid-request");
    const codes = Object.entries(found.refusals).map(([name, { code }]) => [name, code]);
    assert.deepEqual(Object.fromEntries(codes), {
      "cut off": "malformed",
      "almost empty": "malformed",
      corrupt: "malformed",
      future: "unsupported-format",
      foreign: "invalid-request",
      "of another kind": "malformed",
      missing: "invalid-request",
      "of no name": "invalid-request",
      "no session": "invalid-request",
    });
    assert.match(found.refusals.foreign.message, /found a session of .* expected one of /);
    assert.match(found.refusals.corrupt.message, /checksum/);
    assert.deepEqual([found.id, found.format], ["invalid-request", "invalid-request"]);
    assert.ok(found.next.read <= TURN, `${found.next.read}`);
    assert.deepEqual(found.again, found.next);
    assert.equal(found.rounded.read, found.next.read);
    assert.deepEqual(found.list, []);
    const [small, whole] = found.sizes;
    assert.ok(small < whole / 3, `${small} of ${whole}`);
  });

  test("stay as they were when a later save finds no room", async () => {
    const client = await harness.browser.context.newCDPSession(harness.page);
    const { origin } = new URL(harness.page.url());
    const found = await harness.run(
      async (_, [source]) => {
        const model = await start(source, "cpu");
        await ask(model, turns("d", 0));
        return (await model.sessions.save("room")).size;
      },
      [source("qwen3-tied")],
    );
    const used = await harness.run(async () => (await navigator.storage.estimate()).usage);
    await client.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: used + found / 2 });
    const refused = await harness.run(
      async (_, [source]) => {
        const model = window.models.get(`${source}cpu`);
        await ask(model, turns("d", 1));
        return model.sessions.save("room").then(
          () => "saved",
          ({ code, message }) => ({ code, message }),
        );
      },
      [source("qwen3-tied")],
    );
    await client.send("Storage.overrideQuotaForOrigin", { origin });
    assert.equal(refused.code, "storage-full");
    assert.match(refused.message, /session room: needs \d+ MiB, \d+ MiB available/);
    const after = await harness.run(
      async (_, [source]) => {
        const model = window.models.get(`${source}cpu`);
        const { tokens } = await model.sessions.restore("room");
        const first = await model.sessions.save("room");
        await model.sessions.delete("room");
        const files = [];
        const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("tablm");
        for await (const name of (await folder.getDirectoryHandle("sessions")).keys())
          files.push(name);
        await model.dispose();
        return { tokens, size: first.size, files };
      },
      [source("qwen3-tied")],
    );
    assert.deepEqual({ size: after.size, files: after.files }, { size: found, files: [] });
  });

  test("report no console error", () => harness.expectQuiet());
});

/** Makes a file of a prompt that a model has read, by the command line. */
function snapshotFile(folder, model, messages) {
  for (const file of readdirSync(tiny(model)))
    symlinkSync(join(tiny(model), file), join(folder, file));
  rmSync(join(folder, "chat_template.jinja"), { force: true });
  copyFileSync(TEMPLATE, join(folder, "chat_template.jinja"));
  const [input, output] = [join(folder, "messages.json"), join(folder, "beginning.session")];
  writeFileSync(input, JSON.stringify(messages));
  native("snapshot", "--model", folder, "--backend", "cpu", "--messages", input, output);
  return output;
}

describe("several conversations of one model", () => {
  let harness;
  const folder = mkdtempSync(join(tmpdir(), "tablm-snapshot-"));
  before(async () => {
    const files = MODELS.flatMap((model) => readdirSync(tiny(model)).map((it) => join(model, it)));
    const routes = Object.fromEntries(
      files.map((file) => [`/tiny/${file}`, fileRoute(tiny(file))]),
    );
    const file = snapshotFile(folder, MODELS[0], [{ role: "system", content: BEGINNING }]);
    routes["/tiny/beginning.session"] = fileRoute(file);
    harness = await openHarness({ routes, isolated: true });
    await harness.run(helpers, readFileSync(TEMPLATE, "utf8"));
  });
  after(async () => {
    await harness?.close();
    rmSync(folder, { recursive: true });
  });

  for (const model of MODELS) {
    for (const device of devicesOf(model)) {
      test(`do not evict each other: ${model} on ${device}`, async () => {
        const { rounds, kept, budgeted } = await harness.run(
          async (_, [source, device]) => {
            const model = await start(source, device);
            const fresh = await start(source, device, { sessionBytes: 0 });
            const rounds = [];
            for (let turn = 0; turn < 3; turn += 1) {
              // All at once; the second is aborted, waiting or running.
              const left = new AbortController();
              const asked = ["a", "b", "c"].map((name) =>
                ask(model, turns(name, turn), name === "b" && turn === 1 ? left : {}),
              );
              if (turn === 1) left.abort();
              const answers = await Promise.allSettled(asked);
              for (const [index, name] of ["a", "b", "c"].entries()) {
                await ask(fresh, [{ role: "user", content: `${turn}` }]);
                rounds.push({
                  name,
                  turn,
                  found: answers[index].value && summary(answers[index].value),
                  code: answers[index].reason?.code,
                  expected: summary(await ask(fresh, turns(name, turn))),
                });
              }
            }
            const kept = model.info.memory.sessionBytes;
            const budgeted = fresh.info.memory.sessionBytes;
            await Promise.all([model.dispose(), fresh.dispose()]);
            return { rounds, kept, budgeted };
          },
          [`/tiny/${model}`, device],
        );
        for (const { name, turn, found, code, expected } of rounds) {
          if (name === "b" && turn === 1) {
            assert.equal(code, "aborted");
            continue;
          }
          assert.deepEqual(found.ids, expected.ids, `${name}, turn ${turn}`);
          const most = name === "b" && turn === 2 ? 2 * TURN : TURN;
          assert.ok(turn === 0 || found.read <= most, `${name}, turn ${turn}: ${found.read}`);
        }
        assert.ok(kept > 0 && budgeted === 0);
      });
    }
  }

  test("go on without their oldest turns where the context is full", async () => {
    const found = await harness.run(
      async (_, [source]) => {
        const model = await start(source, "cpu", { contextLength: 512 });
        const create = (turn, truncation) =>
          model.chat.completions
            .create({
              messages: turns("l", turn).map(({ role, content }) => ({
                role,
                content: content.slice(0, 60),
              })),
              temperature: 0,
              max_completion_tokens: 8,
              truncation,
            })
            .then(
              ({ usage }) => usage.omitted_messages,
              ({ code }) => code,
            );
        const answers = [];
        for (const turn of [1, 12])
          for (const truncation of [undefined, "disabled", "auto", "other"])
            answers.push(await create(turn, truncation));
        await model.dispose();
        return answers;
      },
      ["/tiny/qwen3-tied"],
    );
    const [short, long] = [found.slice(0, 4), found.slice(4)];
    assert.deepEqual(short, [0, 0, 0, "invalid-request"]);
    const [none, disabled, omitted, other] = long;
    assert.deepEqual([none, disabled, other], ["context-full", "context-full", "invalid-request"]);
    assert.ok(omitted > 0 && omitted < 24 && omitted % 2 === 0, `${omitted} messages`);
  });

  test("begin with a snapshot beside the model", async () => {
    const found = await harness.run(
      async (_, [source, content]) => {
        const url = "/tiny/beginning.session";
        const bytes = await (await fetch(url)).blob();
        const results = [];
        for (const given of [bytes, url, new URL(url, document.baseURI)]) {
          const model = await start(source, "cpu", { snapshot: given });
          const answers = [];
          for (const question of ["one", "two", "three"]) {
            const messages = [
              { role: "system", content },
              { role: "user", content: `question ${question}` },
            ];
            answers.push(summary(await ask(model, messages)).read);
            await ask(model, turns("t", 0));
          }
          results.push({ answers, warnings: model.info.warnings });
          await model.dispose();
        }
        const wrong = [];
        for (const given of [new Blob(["no session"]), "/tiny/nothing.session"]) {
          const model = await start(source, "cpu", { snapshot: given });
          const { read } = summary(await ask(model, turns("s", 0)));
          wrong.push({ read, warnings: model.info.warnings });
          await model.dispose();
        }
        const refused = await start(source, "cpu", { snapshot: "http://" }).catch((it) => it.code);
        return { results, wrong, refused };
      },
      [`/tiny/${MODELS[0]}`, BEGINNING],
    );
    for (const { answers, warnings } of found.results) {
      for (const read of answers) assert.ok(read <= TURN, `${read} tokens read`);
      assert.deepEqual(
        warnings.filter((text) => text.startsWith("snapshot")),
        [],
      );
    }
    for (const { read, warnings } of found.wrong) {
      assert.ok(read > TURN);
      assert.match(warnings.at(-1), /^snapshot: .*; it is not used$/);
    }
    assert.equal(found.refused, "invalid-request");
  });
});
