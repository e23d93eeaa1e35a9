/**
 * The service worker. It caches the page, so that it opens offline, and adds the headers for
 * cross-origin isolation, so that it may use threads: from the second visit on, if the server sends
 * no such headers. It does not cache models; the package keeps those in the origin's storage.
 *
 * Versions cannot mix. Each has its files in a folder of its own, named by a hash of their
 * contents, and `index.html` names the folder in use. A deployment has one cache, and every worker
 * answers from it, whatever its version. An update adds its folder beside the one in use, then
 * `index.html`: open pages continue with their files, and the next load gets the new ones. A worker
 * activates once no page is left that an earlier worker served, and then deletes the folders that
 * are no longer named.
 */

/** Hashes of the files in this version's folder, without the builds of the engine. */
declare const SHELL: Record<string, string>;
/** Hashes of the files of each build of the engine. */
declare const BUILDS: Record<string, Record<string, string>>;
/** Hashes of the files outside the folder, whose names never change. */
declare const STABLE_FILES: Record<string, string>;
/** Name of this version's folder. */
declare const FOLDER: string;
/** Headers for cross-origin isolation. */
declare const ISOLATION: Record<string, string>;

/** Types of the service worker API that TypeScript's DOM library lacks. */
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
/**
 * Not `tablm-shell-…`: versions before this layout delete all caches of that name on the origin.
 */
const CACHE = `tablm-page ${ROOT}`;
const INDEX = "index.html";
/** Timeout for the start of a response; a network without connectivity may never fail. */
const RESPONSE_TIMEOUT_MS = 10_000;
const IN_FOLDER = /^([0-9a-f]{16})\//;

/**
 * Caches and files of versions before this layout, which shared caches across the origin and had no
 * folder. The first worker of this layout does not wait for their pages, because their own worker
 * breaks them on reload; it serves them as long as any is open.
 */
const OLD_CACHE = /^tablm-shell-[0-9a-f]{16}$/;
const OLD_FILE = new RegExp(
  `^(${[
    "(index\\.html|main\\.js|style\\.css|icon\\.svg|manifest\\.webmanifest)",
    "tablm/(index|worker)\\.js",
    "tablm/wasm/.+",
  ].join("|")})$`,
);

/** Returns a URL's path relative to this deployment, or `undefined` if it is outside. */
function pathOf(url: string): string | undefined {
  const { origin, pathname } = new URL(url);
  return (origin + pathname).startsWith(ROOT) ? (origin + pathname).slice(ROOT.length) : undefined;
}

/** True if a response has the contents that this version expects. */
async function hasExpectedContents(
  response: Response,
  file: string,
  hash: string,
): Promise<boolean> {
  const bytes = await response.arrayBuffer();
  // Hosts may inject markup into the page, so only the folder it names is checked.
  if (file === INDEX) return new TextDecoder().decode(bytes).includes(`${FOLDER}/`);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === hash;
}

/** Caches a file of this version, past caches of browser and host that have another version. */
async function fetchFile(cache: Cache, file: string, hash: string): Promise<void> {
  const attempts = [
    ["", "force-cache"],
    ["", "reload"],
    [`?${FOLDER}`, "reload"],
  ] as const;
  for (const [query, mode] of attempts) {
    const response = await fetch(ROOT + file + query, { cache: mode });
    if (!response.ok || !(await hasExpectedContents(response.clone(), file, hash))) continue;
    const headers = new Headers(response.headers);
    headers.delete("Vary");
    return cache.put(ROOT + file, new Response(response.body, { headers }));
  }
  throw new Error(`${ROOT + file} is not of version ${FOLDER}, even past all caches`);
}

/** Caches this version's folder with the given builds, except for files already in the cache. */
async function cacheFolder(cache: Cache, builds: string[]): Promise<void> {
  const files = Object.entries(
    Object.assign({}, SHELL, ...builds.map((build) => BUILDS[build])) as Record<string, string>,
  );
  await Promise.all(
    files.map(
      async ([file, hash]) => (await cache.match(ROOT + file)) ?? fetchFile(cache, file, hash),
    ),
  );
}

/** Returns the paths of this deployment that are in a cache. */
async function pathsIn(cache: Cache): Promise<string[]> {
  const paths = (await cache.keys()).map(({ url }) => pathOf(url));
  return paths.filter((path) => path !== undefined);
}

async function oldCaches(): Promise<Cache[]> {
  return Promise.all(
    (await caches.keys()).filter((name) => OLD_CACHE.test(name)).map((name) => caches.open(name)),
  );
}

/** Finds a file in the caches of versions before this layout. */
async function findOld(file: string): Promise<Response | undefined> {
  for (const cache of await oldCaches()) {
    const response = await cache.match(ROOT + file);
    if (response) return response;
  }
  return undefined;
}

/** Deletes the caches of versions before this layout once none of their pages is open. */
async function deleteOldCaches(): Promise<void> {
  const pages = await scope.clients.matchAll({ type: "window", includeUncontrolled: true });
  if (pages.some(({ url }) => pathOf(url) !== undefined)) return;
  for (const name of await caches.keys()) {
    if (!OLD_CACHE.test(name)) continue;
    const old = await caches.open(name);
    for (const path of await pathsIn(old)) if (OLD_FILE.test(path)) await old.delete(ROOT + path);
    // Another deployment of the same version may share the cache.
    if ((await old.keys()).length === 0) await caches.delete(name);
  }
}

/** Caches this version, with the builds that an earlier version had cached. */
async function install(): Promise<void> {
  const cache = await caches.open(CACHE);
  const isFirst = !(await cache.match(ROOT + INDEX));
  const earlier = (await Promise.all([cache, ...(await oldCaches())].map(pathsIn))).flat();
  await cacheFolder(
    cache,
    Object.keys(BUILDS).filter((build) =>
      earlier.some((path) => path.endsWith(`tablm/wasm/${build}/tablm_bg.wasm`)),
    ),
  );
  for (const [file, hash] of Object.entries(STABLE_FILES)) await fetchFile(cache, file, hash);
  if (isFirst) await scope.skipWaiting();
}

/** Deletes the folders of earlier versions, whose pages are all closed. */
async function deleteEarlierFolders(): Promise<void> {
  const cache = await caches.open(CACHE);
  const index = await (await cache.match(ROOT + INDEX))?.text();
  for (const path of await pathsIn(cache)) {
    const folder = IN_FOLDER.exec(path)?.[1];
    // The cached index.html may already name the folder of a newer version whose worker waits.
    if (folder && folder !== FOLDER && !index?.includes(`${folder}/`))
      await cache.delete(ROOT + path);
  }
}

/**
 * Fetches a file that is not cached, such as a better build than the cached one, with a timeout.
 */
async function fetchWithTimeout(request: Request): Promise<Response> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), RESPONSE_TIMEOUT_MS);
  return fetch(request, { signal: controller.signal }).finally(() => clearTimeout(timer));
}

async function answer(request: Request, file: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  const response =
    (await cache.match(ROOT + file)) ?? (await findOld(file)) ?? (await fetchWithTimeout(request));
  if (!response.ok) return response;
  const { body, status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(body, { status, statusText, headers });
}

// One job at a time: another version's worker may be using the same cache.
const { locks } = navigator;
scope.addEventListener("install", (event) => event.waitUntil(locks.request(CACHE, install)));
scope.addEventListener("message", (event) => {
  event.waitUntil(
    locks.request(CACHE, async () => cacheFolder(await caches.open(CACHE), [event.data.build])),
  );
});
scope.addEventListener("activate", (event) => {
  // Pages wait for activation, so it does not wait for the lock: the next version deletes the rest.
  const cleared = locks.request(
    CACHE,
    { ifAvailable: true },
    (lock) => lock && deleteEarlierFolders(),
  );
  event.waitUntil(cleared.then(() => scope.clients.claim()));
});
scope.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = pathOf(request.url);
  if (request.method !== "GET" || path === undefined) return;
  if (request.mode === "navigate") event.waitUntil(deleteOldCaches());
  const file = path === "" && request.mode === "navigate" ? INDEX : path;
  if (Object.hasOwn(STABLE_FILES, file) || IN_FOLDER.test(file) || OLD_FILE.test(file))
    event.respondWith(answer(request, file));
});
