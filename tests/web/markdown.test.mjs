// Hostile model output stays text: the page's Markdown, bundled and run in a page of its own.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openBrowser, openPage, openServer, root } from "./support.mjs";

const { build } = createRequire(join(root, "pkg", "package.json"))("esbuild");
let server, browser, view;

before(async () => {
  const bundle = await build({
    entryPoints: [join(root, "www", "markdown.ts")],
    bundle: true,
    format: "esm",
    write: false,
    nodePaths: [join(root, "pkg", "node_modules")],
    tsconfigRaw: {},
  });
  server = await openServer({
    before(request, response) {
      const bodies = { "/markdown.js": ["text/javascript", bundle.outputFiles[0].text], "/blank": ["text/html", "<!doctype html><title>blank</title>"] };
      const found = bodies[request.url];
      if (!found) return false;
      response.writeHead(200, { "Content-Type": found[0] }).end(found[1]);
      return true;
    },
  });
  browser = await openBrowser();
  view = await openPage(browser.context, `${server.address}/blank`);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** The HTML that a growing text leaves, shown one character more at a time. */
const show = (text) =>
  view.page.evaluate(async (whole) => {
    const { MarkdownView } = await import("/markdown.js");
    const holder = document.createElement("div");
    document.body.append(holder);
    const markdown = new MarkdownView(holder);
    for (let end = 1; end <= whole.length; end += 1) markdown.show(whole.slice(0, end));
    const elements = [...holder.querySelectorAll("*")];
    return {
      html: holder.innerHTML,
      names: [...new Set(elements.map((element) => element.localName))],
      attributes: [...new Set(elements.flatMap((element) => element.getAttributeNames()))],
      links: [...holder.querySelectorAll("a")].map((link) => link.getAttribute("href")),
      hit: window.hit === true,
    };
  }, text);

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
  test(`harmless: ${attack.slice(0, 50).replaceAll("\n", " ")}`, async () => {
    const { names, attributes, links, hit } = await show(`Before ${attack} after\n\n${attack}\n\nend`);
    const forbidden = ["img", "script", "svg", "iframe", "style", "form", "input", "object", "embed"];
    assert.deepEqual(names.filter((name) => forbidden.includes(name)), []);
    assert.deepEqual(attributes.filter((name) => /^on|style|srcdoc|^src$|^id$/.test(name)), []);
    for (const link of links) assert.ok(link === null || /^(https?|mailto):/.test(link), `a link to ${link}`);
    assert.equal(hit, false);
  });
}

test("growing text gives what whole text gives", async () => {
  const text = "# Title\n\nSome *text* with `code`.\n\n- one\n- two\n  - inner\n\n1. first\n2. second\n\n```js\nlet a = 1 < 2;\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n> quote\n\nend **bold**";
  const { html, names } = await show(text);
  for (const name of ["h1", "em", "code", "ul", "ol", "pre", "table", "blockquote", "strong"]) assert.ok(names.includes(name), `no ${name} in ${html}`);
  assert.ok(html.includes("let a = 1 &lt; 2;"));
});
