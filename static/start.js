// Runs before the first paint, and in browsers that are too old for everything else: so in the JavaScript of 2016.
// interface.js then starts the interface's Python, which takes over.

/** @type {any} */
const nothing = { getItem: () => null, setItem: () => {}, removeItem: () => {}, blocked: true };
let storage = nothing, session = nothing;
try {
  [storage, session] = [localStorage, sessionStorage]; // throws where the user blocks storage; Python could not catch that
} catch (error) {
  console.warn("Storage is blocked for this site: nothing will be stored.", error);
}

// The page's language: the one that was chosen in the settings, else the first of the browser's that there is. The build
// puts into this file what each language has of the texts of this file and of the document; the rest is fetched by
// interface.js.
const languages = /** @type {any} */ ("__LANGUAGES__"); // {code: {English text: text}}, without English
const wishes = [storage.getItem("tensortab.language")].concat(navigator.languages || navigator.language);
const known = (code) => code === "en" || Object.prototype.hasOwnProperty.call(languages, code);
const language = wishes.map((wish) => String(wish).split("-")[0].toLowerCase()).find(known) || "en";
const t = (text) => (language !== "en" && languages[language][text]) || text;
const html = document.documentElement;
html.lang = language;
html.dir = ["ar", "fa", "he", "ur"].includes(language) ? "rtl" : "ltr";

// Translates the document while it is read, so that no English is painted before.
const translate = () => {
  const nodes = document.createTreeWalker(html, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  while (nodes.nextNode()) {
    const node = /** @type {any} */ (nodes.currentNode);
    if (node.nodeType === Node.TEXT_NODE) {
      const text = node.data.trim();
      if (text && t(text) !== text) node.data = node.data.replace(text, () => t(text));
      continue;
    }
    for (const name of ["aria-label", "title", "placeholder"]) {
      const text = node.getAttribute(name);
      if (text && t(text) !== text) node.setAttribute(name, t(text));
    }
  }
};
if (language !== "en") {
  const reading = new MutationObserver(translate);
  reading.observe(html, { childList: true, subtree: true });
  document.addEventListener("readystatechange", () => { // the end is reached; what Python adds is translated
    reading.disconnect();
    translate();
  }, { once: true });
}

// Says why the page does not start. What was said first stays, unless it was only that the start takes long.
const SLOW = t("TensorTab is still loading after 15 seconds. If nothing happens, check the connection and reload the page.");
const absent = (file) => t("%s could not be loaded. Check the connection and reload the page. If it happens again, this " +
  "site is incomplete.").replace("%s", () => file);
let said = "";
const show = () => {
  const box = document.getElementById("trouble");
  if (!box) return;
  box.textContent = said;
  box.hidden = !said;
};
const say = (text) => {
  if (said && said !== SLOW) return;
  said = text;
  show();
};
document.addEventListener("DOMContentLoaded", () => {
  show();
  if (!getComputedStyle(document.documentElement).getPropertyValue("--paper")) say(absent("app.css"));
});
const slow = setTimeout(say, 15000, SLOW);

const problem = () => {
  if (location.protocol === "file:") {
    return t("TensorTab cannot run from a file, because browsers let no page read the files beside it. Run “python " +
      "build.py serve” in its folder, or put this folder on a web host and open it from there.");
  }
  const current = window.CSS && CSS.supports("color", "light-dark(red, red)") && "popover" in HTMLElement.prototype;
  if (!current || !Promise.withResolvers) {
    return t("This browser is too old for TensorTab: update it, or use a current Chrome, Edge, Firefox or Safari.");
  }
  if (typeof WebAssembly !== "object" || !WebAssembly.instantiateStreaming) {
    return t("WebAssembly is switched off in this browser, and TensorTab's Python needs it. Allow it for this site (it " +
      "may be part of a security mode, such as Apple's Lockdown Mode), or use another browser.");
  }
  return "";
};
if (problem()) say(problem());

addEventListener("error", ({ target }) => {
  if (target instanceof HTMLScriptElement) say(absent(target.getAttribute("src")));
}, true);

const theme = storage.getItem("tensortab.theme");
if (theme) document.documentElement.dataset.theme = theme;

// The address says which page is shown, and what of it: #search, #chat/c123; else the first one is. The build fills them in.
const pages = /** @type {any} */ ("__PAGES__");
const view = () => {
  const [name] = location.hash.slice(1).split("/");
  document.documentElement.dataset.view = pages.includes(name) ? name : pages[0];
};
view();
addEventListener("hashchange", view);

// A message that is sent before Python is up is not lost: it waits, and the interface says so.
const early = (event) => {
  const form = document.getElementById("composer");
  if (form.dataset.python) return;
  const composing = event.isComposing || event.keyCode === 229; // Safari ends a composition by such an Enter
  if (event.type === "keydown" && !(event.target.id === "prompt" && event.key === "Enter" && !event.shiftKey && !composing)) return;
  event.preventDefault();
  if (!(/** @type {HTMLTextAreaElement} */ (document.getElementById("prompt"))).value.trim()) return;
  form.dataset.early = "1";
  document.getElementById("hint").textContent = t("Sent as soon as the page is ready …");
};
addEventListener("submit", early);
addEventListener("keydown", early);

globalThis.tensortab = { storage, session, pages, language, languages: ["en", ...Object.keys(languages)], install: null };
// The browser may offer to install the app before Python is up.
addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  tensortab.install = event;
});
if (Promise.withResolvers) {
  // Calls that are made before Python is up wait for it, too.
  const ready = Promise.withResolvers();
  tensortab.run = (source) => ready.promise.then((run) => new Promise((resolve, reject) => run(source, resolve, reject)));
  tensortab.ready = ready;
}

// interface.js calls one of these when Python is up, or is not.
tensortab.failed = (error) => {
  say(t("TensorTab could not start. %s Reload the page to try again.").replace("%s", () => error.message || error));
};
tensortab.started = () => {
  clearTimeout(slow);
  if (said === SLOW) said = "";
  show();
};
