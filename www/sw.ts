/**
 * The service worker: keeps the page itself, so that it opens without a network, and isolates it, so
 * that it may have threads: from the second visit on, where the server sends no such headers.
 * The model is not its business; the package keeps that in the origin's storage.
 *
 * Versions cannot mix: each has its files in a folder of its own, named by what they hold, and `index.html`
 * is the one that says which. All are in one cache of this deployment, and every worker answers from it,
 * whatever its version. So an update puts its folder beside the one in use, and `index.html` last:
 * open pages go on with their files, the next load has the new ones. A worker waits until no page is left
 * that an earlier one answered; then it clears the folders away that nothing names any more.
 */

/** The hashes of the files in this version's folder, but for the engine's builds; those of each build. */
declare const SHELL: Record<string, string>;
declare const BUILDS: Record<string, Record<string, string>>;
/** The hashes of the files whose names stay, and the name of this version's folder. */
declare const LASTING: Record<string, string>;
declare const FOLDER: string;
/** Headers that isolate a page. */
declare const ISOLATION: Record<string, string>;

/** What this file needs of a service worker's types, which the DOM library lacks. */
interface ExtendableEvent extends Event {
  waitUntil(promise: Promise<unknown>): void;
}
interface FetchEvent extends ExtendableEvent {
  request: Request;
  respondWith(response: Promise<Response>): void;
}
interface WorkerScope {
  registration: ServiceWorkerRegistration;
  clients: {
    claim(): Promise<void>;
    matchAll(options: { type: "window"; includeUncontrolled: boolean }): Promise<{ url: string }[]>;
  };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: ExtendableEvent) => void): void;
  addEventListener(type: "fetch", listener: (event: FetchEvent) => void): void;
  addEventListener(
    type: "message",
    listener: (event: ExtendableEvent & { data: { build: string } }) => void,
  ): void;
}

const scope = globalThis as unknown as WorkerScope;
const ROOT = scope.registration.scope;
/** Not `tablm-shell-…`: versions of before this layout delete all of that name, wherever on this origin they are. */
const CACHE = `tablm-page ${ROOT}`;
const INDEX = "index.html";
/** How long a server may take to begin an answer; a network that is there by name alone never does. */
const PATIENCE_MS = 10_000;
const IN_FOLDER = /^([0-9a-f]{16})\//;

/**
 * What versions of before this layout kept: caches of the whole origin, files without a folder. The first worker
 * of this layout does not wait for their pages, which their own worker breaks when they are loaded anew; it
 * answers them as long as there are any.
 */
const OLD_CACHE = /^tablm-shell-[0-9a-f]{16}$/;
const OLD_FILE =
  /^(index\.html|main\.js|style\.css|icon\.svg|manifest\.webmanifest|tablm\/(index|worker)\.js|tablm\/wasm\/.+)$/;

/** The path of a URL below this deployment's, if it is there. */
function pathOf(url: string): string | undefined {
  const { origin, pathname } = new URL(url);
  return (origin + pathname).startsWith(ROOT) ? (origin + pathname).slice(ROOT.length) : undefined;
}

async function isFile(response: Response, file: string, hash: string): Promise<boolean> {
  const bytes = await response.arrayBuffer();
  // Hosts may add to a page; what it runs is by the folder that it names.
  if (file === INDEX) return new TextDecoder().decode(bytes).includes(`${FOLDER}/`);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === hash;
}

/** Fetches a file of this version into the cache: past the browser's own cache, and the host's, if those have another. */
async function fetchFile(cache: Cache, file: string, hash: string): Promise<void> {
  const ways = [
    ["", "force-cache"],
    ["", "reload"],
    [`?${FOLDER}`, "reload"],
  ] as const;
  for (const [query, mode] of ways) {
    const response = await fetch(ROOT + file + query, { cache: mode });
    if (!response.ok || !(await isFile(response.clone(), file, hash))) continue;
    const headers = new Headers(response.headers);
    headers.delete("Vary");
    return cache.put(ROOT + file, new Response(response.body, { headers }));
  }
  throw new Error(`${ROOT + file} is not of version ${FOLDER}, however it is fetched`);
}

/** Keeps this version's folder with some of the builds, of which a browser needs one: what is not there yet. */
async function keepFolder(cache: Cache, builds: string[]): Promise<void> {
  const files = Object.entries(
    Object.assign({}, SHELL, ...builds.map((build) => BUILDS[build])) as Record<string, string>,
  );
  await Promise.all(
    files.map(
      async ([file, hash]) => (await cache.match(ROOT + file)) ?? fetchFile(cache, file, hash),
    ),
  );
}

/** The paths of this deployment's that are in a cache. */
async function pathsIn(cache: Cache): Promise<string[]> {
  const paths = (await cache.keys()).map(({ url }) => pathOf(url));
  return paths.filter((path) => path !== undefined);
}

async function oldCaches(): Promise<Cache[]> {
  return Promise.all(
    (await caches.keys()).filter((name) => OLD_CACHE.test(name)).map((name) => caches.open(name)),
  );
}

/** A file as an old version kept it. */
async function findOld(file: string): Promise<Response | undefined> {
  for (const cache of await oldCaches()) {
    const response = await cache.match(ROOT + file);
    if (response) return response;
  }
  return undefined;
}

/** Deletes what old versions kept, once none of their pages is left. */
async function clearOld(): Promise<void> {
  const pages = await scope.clients.matchAll({ type: "window", includeUncontrolled: true });
  if (pages.some(({ url }) => pathOf(url) !== undefined)) return;
  for (const name of await caches.keys()) {
    if (!OLD_CACHE.test(name)) continue;
    const old = await caches.open(name);
    for (const path of await pathsIn(old)) if (OLD_FILE.test(path)) await old.delete(ROOT + path);
    // Another deployment of the same version had the same cache.
    if ((await old.keys()).length === 0) await caches.delete(name);
  }
}

/** Keeps this version, with the builds that an earlier one had kept. */
async function install(): Promise<void> {
  const cache = await caches.open(CACHE);
  const isFirst = !(await cache.match(ROOT + INDEX));
  const earlier = (await Promise.all([cache, ...(await oldCaches())].map(pathsIn))).flat();
  await keepFolder(
    cache,
    Object.keys(BUILDS).filter((build) =>
      earlier.some((path) => path.endsWith(`tablm/wasm/${build}/tablm_bg.wasm`)),
    ),
  );
  for (const [file, hash] of Object.entries(LASTING)) await fetchFile(cache, file, hash);
  if (isFirst) await scope.skipWaiting();
}

/** Deletes what is of earlier versions, of which no page is left. */
async function clear(): Promise<void> {
  const cache = await caches.open(CACHE);
  const index = await (await cache.match(ROOT + INDEX))?.text();
  for (const path of await pathsIn(cache)) {
    const folder = IN_FOLDER.exec(path)?.[1];
    // The page may be of a version still, the worker of which waits.
    if (folder && folder !== FOLDER && !index?.includes(`${folder}/`))
      await cache.delete(ROOT + path);
  }
}

/** Fetches what is not kept: a build that is better than the one kept, for which nobody waits for long. */
async function fetchSoon(request: Request): Promise<Response> {
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), PATIENCE_MS);
  return fetch(request, { signal: end.signal }).finally(() => clearTimeout(timer));
}

async function answer(request: Request, file: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  const response =
    (await cache.match(ROOT + file)) ?? (await findOld(file)) ?? (await fetchSoon(request));
  if (!response.ok) return response;
  const { body, status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(body, { status, statusText, headers });
}

// One job at a time: another version's worker may be at work in the same cache.
const { locks } = navigator;
scope.addEventListener("install", (event) => event.waitUntil(locks.request(CACHE, install)));
scope.addEventListener("message", (event) => {
  event.waitUntil(
    locks.request(CACHE, async () => keepFolder(await caches.open(CACHE), [event.data.build])),
  );
});
scope.addEventListener("activate", (event) => {
  // Pages wait for this, and must not for the network: what is left is cleared away by the next version.
  const cleared = locks.request(CACHE, { ifAvailable: true }, (lock) => lock && clear());
  event.waitUntil(cleared.then(() => scope.clients.claim()));
});
scope.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = pathOf(request.url);
  if (request.method !== "GET" || path === undefined) return;
  if (request.mode === "navigate") event.waitUntil(clearOld());
  const file = path === "" && request.mode === "navigate" ? INDEX : path;
  if (Object.hasOwn(LASTING, file) || IN_FOLDER.test(file) || OLD_FILE.test(file))
    event.respondWith(answer(request, file));
});
