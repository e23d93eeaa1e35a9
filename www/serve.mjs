// The demo's server: serves the static site in www/dist/ on the loopback address, with range
// requests, content types and security headers. Usage: `node www/serve.mjs --port 8080`.

import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { headerPolicy, isolation } from "./security_headers.mjs";

const here = import.meta.dirname;
const sirv = createRequire(join(here, "..", "pkg", "package.json"))("sirv");

/** Name of the folder that holds a version of the page (see build.mjs). */
const VERSION = /^[0-9a-f]{16}$/;

function setHeaders(response, path) {
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Referrer-Policy", "no-referrer");
  if (path.endsWith(".gguf")) response.setHeader("Content-Type", "application/octet-stream");
}

/**
 * Serves a folder; resolves to the server and its address once it listens. `before` may answer a
 * request itself by returning true, `policy` is the content security policy or `null` for none, and
 * `isolated` adds the cross-origin isolation headers that threads need.
 */
export function serve({
  folder = join(here, "dist"),
  port = 8080,
  policy = headerPolicy,
  isolated = true,
  before,
} = {}) {
  const files = sirv(folder, { etag: true, setHeaders });
  const version = readdirSync(folder).find((name) => VERSION.test(name));
  const server = createServer((request, response) => {
    if (before?.(request, response)) return;
    if (policy) response.setHeader("Content-Security-Policy", policy);
    if (isolated)
      for (const [name, value] of Object.entries(isolation)) response.setHeader(name, value);
    // Files in a version's folder never change.
    const cacheControl = VERSION.test(request.url.split("/")[1])
      ? "max-age=31536000, immutable"
      : "no-cache";
    response.setHeader("Cache-Control", cacheControl);
    // /tablm/ is the package of this version, for tests and the browser's console.
    if (version && request.url.startsWith("/tablm/")) request.url = `/${version}${request.url}`;
    files(request, response, () => {
      response.writeHead(404, {
        "Cache-Control": "no-cache",
        "Content-Type": "text/plain; charset=utf-8",
      });
      response.end("not found\n");
    });
  });
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, "127.0.0.1", () =>
      resolve({ server, address: `http://127.0.0.1:${server.address().port}` }),
    );
  });
}

async function main() {
  const index = process.argv.indexOf("--port");
  const port = index < 0 ? 8080 : Number(process.argv[index + 1]);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    console.error(
      `error: --port: found ${process.argv[index + 1]}, expected a number from 0 to 65535`,
    );
    process.exit(1);
  }
  try {
    const { address } = await serve({ port });
    console.log(`TabLM is served on ${address} (Ctrl+C stops)`);
  } catch (error) {
    const inUse =
      error.code === "EADDRINUSE"
        ? `port ${port} is taken; choose another: make demo PORT=8081`
        : error.message;
    console.error(`error: ${inUse}`);
    process.exit(1);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
