// No answer breaks or freezes the page. The page's view and styles are tested with answers that are
// long, deeply nested, wide or slow to parse, whole and in pieces; and the page itself with a model
// that generates such an answer.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { constantModel } from "./constant_model.mjs";
import {
  chat,
  openBrowser,
  openPage,
  openServer,
  readText,
  root,
  waitUntilReady,
} from "./support.mjs";

const { build } = createRequire(join(root, "pkg", "package.json"))("esbuild");

/**
 * Longest time that the page may be blocked. Without limits, most of these answers take from
 * seconds to hours. A busy machine may take longer once, but not in each of the tries.
 */
const MAX_BLOCKED_MS = 400;
const TRIES = 3;
const MIB = 1 << 20;
const upTo = (length, piece) => piece.repeat(Math.ceil(length / piece.length)).slice(0, length);
/** Lines of growing depth. */
const nested = (count, line) => Array.from({ length: count }, (_, depth) => line(depth)).join("\n");

/** Hostile answers by description. */
const ANSWERS = {
  "quotes in one line, short": ">".repeat(1000),
  "quotes in one line": upTo(MIB, ">"),
  "quotes with spaces": upTo(MIB, "> "),
  "quotes, deeper line by line": nested(1400, (depth) => `${"> ".repeat(depth % 700)}a`),
  "quotes before lines": `${upTo(MIB / 2, ">")}${upTo(MIB / 2, "> a\n")}`,
  "lists in one line": upTo(MIB, "- "),
  "lists, deeper line by line": nested(1000, (depth) => `${"  ".repeat(depth)}- a`),
  "lists and quotes in turns": upTo(MIB, "- > 1. "),
  "very many list items": upTo(MIB, "- a\n"),
  "empty list items": upTo(MIB, "-\n"),
  emphasis: upTo(MIB, "*a **"),
  "emphasis within emphasis": upTo(MIB, "_*a"),
  "unclosed emphasis": upTo(MIB, "**a "),
  underscores: upTo(MIB, "_"),
  strikethrough: upTo(MIB, "~~a"),
  "brackets that open": upTo(MIB, "["),
  "brackets that open and close": `${upTo(MIB / 2, "[")}${upTo(MIB / 2, "]")}`,
  "links in links": upTo(MIB, "[a]("),
  "links of images": upTo(MIB, "[![a](b)]("),
  "references and their targets": upTo(MIB, "[a]: b\n[a] "),
  "unclosed code": upTo(MIB, "`a``"),
  "an unclosed fence": `\`\`\`js\n${upTo(MIB, "let a = 1;\n")}`,
  "very many fences": upTo(MIB, "```\na\n```\n"),
  "a table of very many columns": `${upTo(MIB / 2, "|a")}|\n${upTo(MIB / 2, "|-")}|\n|`,
  "rows that are padded": `${"|a".repeat(1000)}|\n${"|-".repeat(1000)}|\n${"|\n".repeat(100_000)}`,
  "very many rows": `|a|b|\n|-|-|\n${upTo(MIB, "|1|2|\n")}`,
  "one line": upTo(MIB, "word "),
  "one word": upTo(MIB, "word"),
  "one word of surrogate pairs": upTo(MIB, "😀"),
  "very many paragraphs": upTo(MIB, "a\n\n"),
  "very many lines": upTo(MIB, "a\n"),
  "empty lines": upTo(MIB, "\n"),
  spaces: upTo(MIB, " "),
  headings: upTo(MIB, "# a\n"),
  tags: upTo(MIB, "<a <b>"),
  comments: upTo(MIB, "<!-- "),
  "mail addresses": upTo(MIB, "a@a."),
  backslashes: upTo(MIB, "\\"),
  "carriage returns": upTo(MIB, "a\r\n\r"),
  "zeros and direction marks": upTo(MIB, "\u0000\u202e\u200b"),
  "accents on one letter": `a${upTo(MIB, "\u0301")}`,
};

describe("the page's view of answers", () => {
  let server, browser, view;
  before(async () => {
    const options = {
      bundle: true,
      format: "esm",
      write: false,
      nodePaths: [join(root, "pkg", "node_modules")],
      tsconfigRaw: {},
    };
    const bundle = await build({ ...options, entryPoints: [join(root, "www", "conversation.ts")] });
    const html = readText("www", "dist", "index.html").replace(/<script.*<\/script>/, "");
    const bodies = {
      "/view": ["text/html", html],
      "/view.js": ["text/javascript", bundle.outputFiles[0].text],
    };
    server = await openServer({
      before(request, response) {
        const found = bodies[request.url];
        if (found) response.writeHead(200, { "Content-Type": found[0] }).end(found[1]);
        return Boolean(found);
      },
    });
    browser = await openBrowser();
    view = await openPage(browser.context, `${server.address}/view`);
    await view.page.evaluate(async () => {
      const { AnswerView, clearMessages } = await import("/view.js");
      /**
       * Shows an answer in pieces; returns what is shown and the longest time between two ticks.
       */
      window.show = async (text, pieces) => {
        clearMessages();
        const [longest, frame] = [
          { ms: 0 },
          () => new Promise((resolve) => requestAnimationFrame(resolve)),
        ];
        let last = performance.now();
        const look = () => {
          const now = performance.now();
          longest.ms = Math.max(longest.ms, now - last);
          last = now;
        };
        const clock = setInterval(look, 5);
        const start = performance.now();
        const view = new AnswerView();
        for (let piece = 0; piece < pieces; piece += 1) {
          view.add(
            text.slice(
              Math.round((piece * text.length) / pieces),
              Math.round(((piece + 1) * text.length) / pieces),
            ),
          );
          await frame();
        }
        await view.finish("note");
        await frame();
        await frame();
        look();
        clearInterval(clock);
        const body = document.querySelector("#messages .body");
        return {
          blocked: longest.ms,
          took: performance.now() - start,
          kept: view.text === text && body.parentElement.dataset.answer === text,
          shown: body.textContent,
          elements: body.querySelectorAll("*").length,
        };
      };
    });
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  for (const [name, odd] of Object.entries(ANSWERS)) {
    test(`stays responsive: ${name}`, async (t) => {
      for (const [pieces, length] of [
        [1, MIB],
        [20, MIB / 8],
      ]) {
        const text = `Before.\n\n${odd.slice(0, length)}\n\nAfter.`;
        let blocked = Infinity;
        for (let tries = 0; tries < TRIES && blocked > MAX_BLOCKED_MS; tries += 1) {
          const found = await view.page.evaluate(
            ([text, pieces]) => window.show(text, pieces),
            [text, pieces],
          );
          t.diagnostic(
            `${text.length} characters in ${pieces} pieces: ${found.took.toFixed(0)} ms, ` +
              `blocked for ${found.blocked.toFixed(0)} ms, ${found.elements} elements`,
          );
          assert.ok(found.kept, "the answer's text differs");
          assert.ok(/^Before\.[^]*After\.\s*$/.test(found.shown), "not all of the answer is shown");
          blocked = found.blocked;
        }
        assert.ok(
          blocked <= MAX_BLOCKED_MS,
          `the page was blocked for ${blocked.toFixed(0)} ms, expected at most ${MAX_BLOCKED_MS}`,
        );
      }
    });
  }

  test("Markdown is still formatted after hostile answers", async () => {
    const { shown, elements } = await view.page.evaluate(() =>
      window.show("**a** and\n\n1. b\n2. c", 3),
    );
    assert.deepEqual([shown.replace(/\s+/g, " "), elements], ["a and b c ", 7]);
  });

  test("no error was reported", () => view.expectQuiet());
});

test("the page stays responsive with a model that generates only >", async (t) => {
  const text = ">".repeat(60_000);
  const server = await openServer({
    before(request, response) {
      if (request.url !== "/odd.gguf") return false;
      response.end(constantModel(text));
      return true;
    },
  });
  const browser = await openBrowser({ adapter: false });
  try {
    const { page, expectQuiet } = await openPage(
      browser.context,
      `${server.address}/?model=/odd.gguf&temperature=0&max_tokens=8`,
    );
    await page.click("#link button[value=use]");
    await waitUntilReady(page);
    for (const question of ["a", "b"]) {
      const start = performance.now();
      assert.equal((await chat(page, question)).text, text.repeat(8));
      t.diagnostic(`${(performance.now() - start).toFixed(0)} ms`);
    }
    expectQuiet();
  } finally {
    await browser.close();
    await server.close();
  }
});
