// Serves the app without a network. build.py fills in the version and every file with its SHA-256, so that a new build
// is a new service worker: it fetches the changed files beside the running version, verifies each file, and takes over
// as a whole, once no document of the old version is open (or the open one reloads). The engine stores the shards of
// models itself; only their small manifests are kept here.
const VERSION = "__VERSION__";
/** @type {any} path -> SHA-256 */
const FILES = "__FILES__";
const POLICY = "__POLICY__"; // index.html's; a worker takes its policy from its own headers, which a plain host does not send
const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const ROOT = new URL("./", self.location.href);
const PREFIX = `tensortab-app-${ROOT.pathname}:`; // another copy of the app on this origin has its own caches
const APP = PREFIX + VERSION;
const MANIFESTS = `tensortab-manifests-${ROOT.pathname}`;
const SHARED = `tensortab-shared-${ROOT.pathname}`;
const SHA = "x-tensortab-sha256";
const LATER = /^vendor\/cmaps\//; // only some documents need them: kept when one is first read

async function verified(path) {
  // Tries the HTTP cache first: on a first visit the document has just loaded most of these files.
  for (const cache of /** @type {RequestCache[]} */ (["default", "reload"])) {
    const response = await fetch(new URL(path, ROOT), { cache });
    if (!response.ok) throw new Error(`${path}: status ${response.status}`);
    const bytes = await response.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (hex !== FILES[path]) continue;
    // A response of our own: one that was redirected could not answer a navigation. Its bytes are not compressed.
    const headers = new Headers({ [SHA]: hex, "Content-Type": response.headers.get("Content-Type") ?? "" });
    if (/\.m?js$/.test(path)) headers.set("Content-Security-Policy", POLICY);
    return new Response(bytes, { headers });
  }
  throw new Error(`${path} is not the file of version ${VERSION}: the host is between two versions`);
}

async function install() {
  const app = await caches.open(APP);
  const earlier = [];
  for (const name of await caches.keys()) if (name.startsWith(PREFIX)) earlier.push(await caches.open(name));
  await Promise.all(Object.keys(FILES).map(async (path) => {
    const url = new URL(path, ROOT).href;
    for (const cache of earlier) {
      const kept = await cache.match(url);
      if (kept?.headers.get(SHA) === FILES[path]) return app.put(url, kept);
    }
    return LATER.test(path) ? undefined : app.put(url, await verified(path));
  }));
  await keepManifests().catch((error) => console.info(`The app is stored without its models' manifests: ${error}`));
}

// Each manifest is optional: a site may have no models of its own, and a model without its manifest cannot be loaded,
// but the app works without it.
async function keepManifests() {
  const index = await fetch(new URL("models/index.json", ROOT));
  if (!index.ok) return;
  const { models } = await index.clone().json();
  const manifests = await caches.open(MANIFESTS);
  await manifests.put(index.url, index);
  const urls = models.map(({ name }) => new URL(`models/${encodeURIComponent(name)}/manifest.json`, ROOT).href);
  await Promise.allSettled(urls.map((url) => manifests.add(url)));
}

async function activate() {
  for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== APP) await caches.delete(name);
  await worker.clients.claim();
}

async function appFile(path, request) {
  if (request.mode === "navigate" && worker.registration.waiting) {
    const pages = await worker.clients.matchAll({ type: "window" });
    if (pages.length < 2) {
      worker.registration.waiting.postMessage("activate");
      return new Response("", { headers: { Refresh: "0" } });
    }
  }
  const cache = await caches.open(APP);
  const kept = await cache.match(new URL(path, ROOT).href);
  if (kept || !LATER.test(path)) return kept ?? fetch(request);
  const fetched = await verified(path);
  await cache.put(new URL(path, ROOT).href, fetched.clone());
  return fetched;
}

async function modelInfo(url) {
  const cache = await caches.open(MANIFESTS);
  try {
    const response = await fetch(url, { cache: "no-cache" });
    if (response.ok) await cache.put(url, response.clone());
    return response;
  } catch (offline) {
    const kept = await cache.match(url);
    if (kept) return kept;
    throw offline;
  }
}

// What other programs share with the app (share_target in the manifest) waits in a cache until the page takes it from
// there (app/studio/shell/outside.py). The page opens in any case, and says if nothing could be stored.
async function shared(request) {
  const store = async () => {
    const form = await request.formData(), place = await caches.open(SHARED);
    const words = ["title", "text", "url"].map((name) => form.get(name)).filter(Boolean).join("\n\n");
    if (words) await place.put(new URL("shared-text", ROOT), new Response(words));
    for (const [n, file] of form.getAll("files").entries()) {
      const headers = { "Content-Type": file.type, "X-Name": encodeURIComponent(file.name) };
      if (file.size) await place.put(new URL(`shared-file-${n}`, ROOT), new Response(file, { headers }));
    }
  };
  await store().catch((error) => console.error("What was shared could not be stored.", error));
  return Response.redirect(`${ROOT}?shared`, 303);
}

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(activate()));
worker.addEventListener("message", (event) => {
  if (event.data === "activate") worker.skipWaiting();
});
worker.addEventListener("fetch", (event) => {
  const { method, mode, url: address } = event.request, url = new URL(address);
  if (method === "POST" && mode === "navigate" && url.href === `${ROOT}?share`) event.respondWith(shared(event.request));
  if (method !== "GET" || url.origin !== ROOT.origin || !url.pathname.startsWith(ROOT.pathname)) return;
  const path = decodeURIComponent(url.pathname.slice(ROOT.pathname.length)) || "index.html";
  if (Object.hasOwn(FILES, path)) event.respondWith(appFile(path, event.request));
  else if (/^models\/(?:[^/]+\/manifest|index)\.json$/.test(path)) event.respondWith(modelInfo(url.origin + url.pathname));
});
