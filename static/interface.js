// Starts the interface's Python, app/studio, in MicroPython: the shell, which makes the pages.

import { broken, json, script } from "./files.js";

// Resolves when the text of the page has been painted, before Python keeps the browser busy. In a hidden tab nothing is.
const painted = () => new Promise((resolve) => {
  requestAnimationFrame(() => setTimeout(resolve));
  setTimeout(resolve, document.hidden ? 0 : 500);
});

// The browser's turn: on a slow phone all of Python in one go would block it for a second.
const pause = () => globalThis.scheduler?.yield?.() ?? new Promise((resolve) => setTimeout(resolve));

async function load() {
  const modules = [script("micropython/micropython.mjs"), script("vendor/marked.esm.js")];
  const [{ loadMicroPython }, marked] = await Promise.all(modules);
  await painted();
  const url = new URL("micropython/micropython.wasm", import.meta.url).href;
  // A text needs its bytes in one piece: of the usual 1 MiB, which grows, none of 2 MB gets them. Each collection goes
  // through the whole heap, and there is one after every call from JavaScript: 128 MiB made the start 150 ms longer.
  const heapsize = 16 << 20;
  const options = { url, heapsize, stdout: console.log, stderr: console.error };
  const python = await Promise.race([broken, loadMicroPython(options)]);
  python.registerJsModule("marked", marked);
  return python;
}

const interpreter = load();

// What is asked for again was done already, unless it failed.
const once = (make, done = new Map()) => (name) => {
  if (!done.has(name)) done.set(name, make(name).catch((error) => { done.delete(name); throw error; }));
  return done.get(name);
};

// Fetches a part of the interface's Python, the shell or a page, and returns the paths of its modules.
const fetched = once(async (name) => {
  const files = await json(`studio/${name}.json`), { FS } = await interpreter, encoder = new TextEncoder();
  for (const [path, source] of Object.entries(files)) {
    FS.mkdirTree(path.slice(0, path.lastIndexOf("/")));
    FS.writeFile(path, encoder.encode(source));
  }
  return Object.keys(files);
});

// Imports a part, one module after the other. shell/routing.py calls it for a page.
const imported = once(async (name) => {
  const python = await interpreter;
  for (const path of await fetched(name)) {
    python.runPython(`import ${path.replace(/\.py$/, "").replaceAll("/", ".")}`);
    await pause();
  }
});
tensortab.part = imported;
tensortab.script = script; // for libraries that few need

async function start() {
  const { pages, language } = tensortab, shown = document.documentElement.dataset.view;
  const texts = language === "en" ? {} : json(`studio/languages/${language}.json`); // the source is English
  await Promise.all([texts, ...["shell", pages[0], shown].map(fetched)]);
  tensortab.texts = JSON.stringify(await texts); // for shell/wording.py
  await imported("shell"); // main.py goes on from here
  // The other pages' files are fetched before a new version of the site can come between (shell/offline.py).
  for (const page of pages) fetched(page).catch((error) => console.info(error.message));
}

start().catch(tensortab.failed);
