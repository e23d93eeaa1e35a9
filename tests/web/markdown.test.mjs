// The page's Markdown view, bundled and run in an empty page: hostile model output is harmless, and
// text that is added in pieces renders like the complete text.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { bundle, openBrowser, openPage, openServer, responseRoute } from "./support.mjs";

let server, browser, view;

before(async () => {
  const script = await bundle("www", "markdown.ts");
  const blank = "<!doctype html><title>blank</title>";
  const routes = {
    "/markdown.js": responseRoute(200, { "Content-Type": "text/javascript" }, script),
    "/blank": responseRoute(200, { "Content-Type": "text/html" }, blank),
  };
  server = await openServer({
    before(request, response) {
      routes[request.url]?.(request, response);
      return request.url in routes;
    },
  });
  browser = await openBrowser();
  view = await openPage(browser.context, `${server.address}/blank`);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** Renders a text that grows by `step` characters at a time, and returns the resulting HTML. */
const show = (text, step = 1) =>
  view.page.evaluate(
    async ([text, step]) => {
      const { MarkdownView } = await import("/markdown.js");
      const holder = document.createElement("div");
      document.body.append(holder);
      const markdown = new MarkdownView(holder);
      for (let start = 0; start < text.length; start += step) {
        markdown.add(text.slice(start, start + step));
        markdown.advance(Infinity);
      }
      const elements = [...holder.querySelectorAll("*")];
      return {
        html: holder.innerHTML,
        names: [...new Set(elements.map((element) => element.localName))],
        attributes: [...new Set(elements.flatMap((element) => element.getAttributeNames()))],
        links: [...holder.querySelectorAll("a")].map((link) => link.getAttribute("href")),
        hit: window.hit === true,
      };
    },
    [text, step],
  );

const ATTACKS = [
  '<img src=x onerror="window.hit=true">',
  "<script>window.hit=true</script>",
  "<svg/onload=window.hit=true>",
  "[a](javascript:window.hit=true)",
  "[a](  jAvAsCrIpT:window.hit=true)",
  "![a](https://example.com/pixel.png)",
  "[a](data:text/html,<script>window.hit=true</script>)",
  '<a href="https://example.com" style="position:fixed;inset:0">x</a>',
  "<iframe srcdoc='<script>parent.hit=true</script>'></iframe>",
  '```html"><img src=x onerror=window.hit=true>\nx\n```',
  "<style>*{display:none}</style>",
  "<form action=https://example.com><input name=q></form>",
  '[a](https://example.com "x onmouseover=window.hit=true")',
];

for (const attack of ATTACKS) {
  test(`renders without effect: ${attack.slice(0, 50).replaceAll("\n", " ")}`, async () => {
    const { names, attributes, links, hit } = await show(
      `Before ${attack} after\n\n${attack}\n\nend`,
    );
    const forbidden = [
      "img",
      "script",
      "svg",
      "iframe",
      "style",
      "form",
      "input",
      "object",
      "embed",
    ];
    assert.deepEqual(
      names.filter((name) => forbidden.includes(name)),
      [],
    );
    assert.deepEqual(
      attributes.filter((name) => /^on|style|srcdoc|^src$|^id$/.test(name)),
      [],
    );
    for (const link of links)
      assert.ok(link === null || /^(https?|mailto):/.test(link), `a link to ${link}`);
    assert.equal(hit, false);
  });
}

/** Texts in which later lines change the meaning of earlier ones. */
const GROWING = [
  "1. one\n\n2. two\n\n   more of two\n\n3. three\n\nend",
  "- a\n- b\n\n\n- c\n\n* d\n\n-- no item\n\n1) e\n",
  "- a\n\n  ```js\n  b\n\n  c\n  ```\n\n- d\n    - e\n\n      f\n",
  "a\n#b\nc\n***d***\n\n***\n\n# e\nf\n# \ng",
  "a\n-\n\nb\n- c\n\nd\n===\ne\n--- \nf",
  "before\n| a | b |\n|---|--:|\n| 1 | 2 |\nx\n\n| c |\n\n|d|\n|-|\n",
  "> a\nb\n\n> c\n> - d\n>\n> e\n\nf",
  "[r]: https://example.com/r\n\n[r] and [text][r]\n\n\n[s]: <https://example.com/s>\n[s]",
  "    code\n\n\n    more\n\nno code\n\n\ta\n",
  "```\na\n``\n~~~\n```\nb\n~~~~md\n```\n~~~\n~~~~\nend",
  "<div>\na\n\n<b>c</b>\n\n<!-- d\n\ne -->\nf",
  "a\r\nb\r\n\r\n- c\r\n- d\r\n",
  "`a` **b *c* d** ~~e~~ https://example.com f@example.com\\\nnew  \nline " +
    "![g](https://example.com/g)",
];
for (const text of GROWING) {
  const title = JSON.stringify(text).slice(0, 40);
  test(`renders growing text like the complete text: ${title}`, async () => {
    const complete = await show(text, text.length);
    for (const step of [1, 2, 7])
      assert.equal((await show(text, step)).html, complete.html, `${step} characters at a time`);
  });
}

test("renders the elements of growing Markdown", async () => {
  const text =
    "# Title\n\nSome *text* with `code`.\n\n- one\n- two\n  - inner\n\n1. first\n2. second\n\n" +
    "```js\nlet a = 1 < 2;\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n> quote\n\nend **bold**";
  const { html, names } = await show(text);
  for (const name of ["h1", "em", "code", "ul", "ol", "pre", "table", "blockquote", "strong"])
    assert.ok(names.includes(name), `no ${name} in ${html}`);
  assert.ok(html.includes("let a = 1 &lt; 2;"));
});
