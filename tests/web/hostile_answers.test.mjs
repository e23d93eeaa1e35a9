// No answer breaks or blocks the page. The page's view and styles are tested with answers that are
// long, deeply nested, wide or slow to parse, in one piece and in many; and the page itself with a
// model that generates such an answer.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { constantModelRoute } from "./constant_model.mjs";
import {
  bundle,
  chat,
  openBrowser,
  openPage,
  openServer,
  readText,
  responseRoute,
  waitUntilReady,
} from "./support.mjs";

/**
 * Longest time that the page may be blocked. Without the page's own limits, most of these answers
 * block it for seconds to hours. A busy machine may take longer once, but not in each of the tries.
 */
const MAX_BLOCKED_MS = 400;
const TRIES = 3;
const MIB = 1 << 20;
/** Repeats a text up to a length. */
const upTo = (length, piece) => piece.repeat(Math.ceil(length / piece.length)).slice(0, length);
/** Returns lines of growing depth. */
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
    const html = readText("www", "dist", "index.html").replace(/<script.*<\/script>/, "");
    const script = await bundle("www", "conversation.ts");
    const routes = {
      "/view": responseRoute(200, { "Content-Type": "text/html" }, html),
      "/view.js": responseRoute(200, { "Content-Type": "text/javascript" }, script),
    };
    server = await openServer({
      before(request, response) {
        routes[request.url]?.(request, response);
        return request.url in routes;
      },
    });
    browser = await openBrowser();
    view = await openPage(browser.context, `${server.address}/view`);
    await view.page.evaluate(async () => {
      const { AnswerView, clearMessages } = await import("/view.js");
      /** Shows an answer in pieces; returns what is shown and the longest time without a tick. */
      window.show = async (text, pieces) => {
        clearMessages();
        const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
        let blockedMs = 0;
        let last = performance.now();
        const tick = () => {
          const now = performance.now();
          blockedMs = Math.max(blockedMs, now - last);
          last = now;
        };
        const clock = setInterval(tick, 5);
        const start = performance.now();
        const view = new AnswerView();
        const cut = (piece) => Math.round((piece * text.length) / pieces);
        for (let piece = 0; piece < pieces; piece += 1) {
          view.add(text.slice(cut(piece), cut(piece + 1)));
          await frame();
        }
        await view.finish("note");
        await frame();
        await frame();
        tick();
        clearInterval(clock);
        const body = document.querySelector("#messages .body");
        return {
          blockedMs,
          tookMs: performance.now() - start,
          isKept: view.text === text && body.parentElement.dataset.answer === text,
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

  for (const [name, hostile] of Object.entries(ANSWERS)) {
    test(`stays responsive with ${name}`, async (t) => {
      for (const [pieces, length] of [
        [1, MIB],
        [20, MIB / 8],
      ]) {
        const text = `Before.\n\n${hostile.slice(0, length)}\n\nAfter.`;
        let blockedMs = Infinity;
        for (let tries = 0; tries < TRIES && blockedMs > MAX_BLOCKED_MS; tries += 1) {
          const found = await view.page.evaluate(
            ([text, pieces]) => window.show(text, pieces),
            [text, pieces],
          );
          t.diagnostic(
            `${text.length} characters in ${pieces} pieces: ${found.tookMs.toFixed(0)} ms, ` +
              `blocked for ${found.blockedMs.toFixed(0)} ms, ${found.elements} elements`,
          );
          assert.ok(found.isKept, "the answer's text differs");
          assert.ok(/^Before\.[^]*After\.\s*$/.test(found.shown), "not all of the answer is shown");
          blockedMs = found.blockedMs;
        }
        assert.ok(
          blockedMs <= MAX_BLOCKED_MS,
          `the page was blocked for ${blockedMs.toFixed(0)} ms, expected at most ${MAX_BLOCKED_MS}`,
        );
      }
    });
  }

  test("still formats Markdown after hostile answers", async () => {
    const { shown, elements } = await view.page.evaluate(() =>
      window.show("**a** and\n\n1. b\n2. c", 3),
    );
    assert.deepEqual([shown.replace(/\s+/g, " "), elements], ["a and b c ", 7]);
  });

  test("reports no console error", () => view.expectQuiet());
});

test("the page stays responsive with a model that generates only >", async (t) => {
  const text = ">".repeat(60_000);
  const model = constantModelRoute(text);
  const server = await openServer({
    before(request, response) {
      if (request.url !== "/hostile.gguf") return false;
      model(request, response);
      return true;
    },
  });
  const browser = await openBrowser({ adapter: false });
  try {
    const { page, expectQuiet } = await openPage(
      browser.context,
      `${server.address}/?model=/hostile.gguf&temperature=0&max_tokens=8`,
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
