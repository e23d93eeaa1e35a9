// The service worker of pages from before version folders, as it was built; offline.test.mjs adds
// its lists of files. Updates of such pages must work with its caches and its behavior.
(() => {
  const scope = globalThis;
  const PREFIX = "tablm-shell-";
  const CACHE = PREFIX + VERSION;
  const address = (file) => new URL(file, scope.registration.scope).href;
  const known = new Set([SHELL, ...Object.values(BUILDS)].flat().map(address));
  async function keep(files) {
    const cache = await caches.open(CACHE);
    await cache.addAll(files.map((file) => new Request(address(file), { cache: "reload" })));
  }
  async function install() {
    const used = Object.values(BUILDS).map(async (files) =>
      (await caches.match(address(files[0] ?? ""))) ? files : [],
    );
    await keep([SHELL, ...(await Promise.all(used))].flat());
    await scope.skipWaiting();
  }
  async function keepBuild(build) {
    const files = BUILDS[build] ?? [];
    const cache = await caches.open(CACHE);
    const there = await Promise.all(files.map((file) => cache.match(address(file))));
    if (!there.every(Boolean)) await keep(files);
  }
  async function activate() {
    for (const name of await caches.keys()) {
      if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
    }
    await scope.clients.claim();
  }
  async function answer(request, key) {
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
    if (request.mode === "navigate" && url.href === scope.registration.scope)
      url.pathname += "index.html";
    if (known.has(url.href)) event.respondWith(answer(request, url.href));
  });
  scope.addEventListener("message", (event) => event.waitUntil(keepBuild(event.data.build)));
})();
