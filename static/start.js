// Runs before the first paint. The interface's Python (studio/main.py) takes over as soon as it is up.
if (!CSS.supports("color", "light-dark(red, red)") || !Promise.withResolvers) {
  addEventListener("DOMContentLoaded", () => document.body.prepend("This browser is too old for TensorTab: update it, or use " +
    "a current Chrome, Edge, Firefox or Safari."));
}
/** @type {any} */
const nothing = { getItem: () => null, setItem: () => {}, removeItem: () => {}, blocked: true };
let storage = nothing, session = nothing;
try {
  [storage, session] = [localStorage, sessionStorage]; // throws where the user blocks storage; Python could not catch that
} catch (error) {
  console.warn("Storage is blocked for this site: nothing will be stored.", error);
}
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
  if (event.type === "keydown" && !(event.target.id === "prompt" && event.key === "Enter" && !event.shiftKey && !event.isComposing)) return;
  event.preventDefault();
  if (!(/** @type {HTMLTextAreaElement} */ (document.getElementById("prompt"))).value.trim()) return;
  form.dataset.early = "1";
  document.getElementById("hint").textContent = "Sent as soon as the page is ready …";
};
addEventListener("submit", early);
addEventListener("keydown", early);

// Calls that are made before Python is up wait for it, too.
globalThis.tensortab = { ready: Promise.withResolvers(), storage, session };
globalThis.tensortab.run = (source) =>
  tensortab.ready.promise.then((run) => new Promise((resolve, reject) => run(source, resolve, reject)));

// PyScript makes functions from text for its own workers, which are not used here. This hook keeps it from that, so
// that the Content-Security-Policy needs no 'unsafe-eval'.
import("./pyscript/core.js").then(({ hooks }) => hooks.worker.onBeforeRunAsync.clear()).catch((error) => {
  document.getElementById("hint").textContent = `The interface could not start (${error.message}). Reload the page.`;
});
