/**
 * The service worker: keeps the page itself, so that it opens without a network.
 * The model is not its business; the package keeps that in the origin's storage.
 */

/** The files of the page and a hash of them all, put in by the build. */
declare const SHELL: string[];
declare const VERSION: string;

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
}

const scope = globalThis as unknown as WorkerScope;
const PREFIX = "tablm-shell-";
const CACHE = PREFIX + VERSION;
const kept = new Set(SHELL.map((file) => new URL(file, scope.registration.scope).href));

async function install(): Promise<void> {
  const cache = await caches.open(CACHE);
  // Past the HTTP cache, so that the files of one version stay together.
  await cache.addAll(SHELL.map((file) => new Request(new URL(file, scope.registration.scope), { cache: "reload" })));
  await scope.skipWaiting();
}

async function activate(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  }
  await scope.clients.claim();
}

async function answer(request: Request, key: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  return (await cache.match(key)) ?? fetch(request);
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
  if (kept.has(url.href)) event.respondWith(answer(request, url.href));
});
