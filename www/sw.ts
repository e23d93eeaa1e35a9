/**
 * The service worker: keeps the page itself, so that it opens without a network, and isolates it, so
 * that it may have threads: from the second visit on, where the server sends no such headers.
 * The model is not its business; the package keeps that in the origin's storage.
 */

/** The files of the page, those of each of the engine's builds, a hash of all, and headers, put in by the build. */
declare const SHELL: string[];
declare const BUILDS: Record<string, string[]>;
declare const VERSION: string;
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
  clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: ExtendableEvent) => void): void;
  addEventListener(type: "fetch", listener: (event: FetchEvent) => void): void;
  addEventListener(type: "message", listener: (event: ExtendableEvent & { data: { build: string } }) => void): void;
}

const scope = globalThis as unknown as WorkerScope;
const PREFIX = "tablm-shell-";
const CACHE = PREFIX + VERSION;
const address = (file: string): string => new URL(file, scope.registration.scope).href;
const known = new Set([SHELL, ...Object.values(BUILDS)].flat().map(address));

async function keep(files: string[]): Promise<void> {
  const cache = await caches.open(CACHE);
  // Past the HTTP cache, so that the files of one version stay together.
  await cache.addAll(files.map((file) => new Request(address(file), { cache: "reload" })));
}

/** Keeps the page, and the builds that an earlier version had kept. */
async function install(): Promise<void> {
  const used = Object.values(BUILDS).map(async (files) => ((await caches.match(address(files[0] ?? ""))) ? files : []));
  await keep([SHELL, ...(await Promise.all(used))].flat());
  await scope.skipWaiting();
}

/** Keeps the build that a page runs, unless it is there: of the builds a browser needs one. */
async function keepBuild(build: string): Promise<void> {
  const files = BUILDS[build] ?? [];
  const cache = await caches.open(CACHE);
  const there = await Promise.all(files.map((file) => cache.match(address(file))));
  if (!there.every(Boolean)) await keep(files);
}

async function activate(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  }
  await scope.clients.claim();
}

async function answer(request: Request, key: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  const response = (await cache.match(key)) ?? (await fetch(request));
  if (!response.ok) return response;
  const { body, status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(body, { status, statusText, headers });
}

scope.addEventListener("install", (event) => event.waitUntil(install()));
scope.addEventListener("activate", (event) => event.waitUntil(activate()));
scope.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  const url = new URL(request.url);
  url.search = "";
  url.hash = "";
  if (request.mode === "navigate" && url.href === scope.registration.scope) url.pathname += "index.html";
  if (known.has(url.href)) event.respondWith(answer(request, url.href));
});
scope.addEventListener("message", (event) => event.waitUntil(keepBuild(event.data.build)));
