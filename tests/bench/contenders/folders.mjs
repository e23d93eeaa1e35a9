// Serves what a peer loads: an empty page at /blank, and folders of the disk under given paths.

import { createReadStream, statSync } from "node:fs";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** Returns a route for the `before` of `openServer`; `folders` maps path prefixes to folders. */
export function serveFolders(folders) {
  return (request, response) => {
    const path = normalize(new URL(request.url, "http://localhost").pathname);
    if (path === "/blank") {
      response
        .writeHead(200, { "Content-Type": "text/html" })
        .end("<!doctype html><title>peer</title>");
      return true;
    }
    const name = Object.keys(folders).find((prefix) => path.startsWith(`${prefix}/`));
    if (!name) return false;
    const file = join(folders[name], path.slice(name.length));
    const found = statSync(file, { throwIfNoEntry: false });
    if (!found?.isFile()) return false;
    response.writeHead(200, {
      "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
      "Content-Length": found.size,
    });
    if (request.method === "HEAD") response.end();
    else createReadStream(file).pipe(response);
    return true;
  };
}
