// The engine's worker: starts Python (from its memory snapshot where there is one), registers the parts
// that are JavaScript and leaves the rest to tensortab/worker.py. app/studio/protocol.json describes its messages.

import { Offline, broken, bytes, json, script, waiting } from "./files.js";

const early = []; // messages that arrive before Python is up
self.onmessage = ({ data }) => early.push(data);

const indexURL = new URL("pyodide/", import.meta.url).href;
const STILL_MS = 60_000;
let gpu; // the executor that is requested while Python starts; the engine's first createExecutor returns it
let version = "not loaded"; // of Pyodide

// The memory (gzipped) of exactly this Pyodide with exactly this wheel imported, and the wheel's files.
async function snapshot(pyodide, lock) {
  const made = await json("pyodide/snapshot.json");
  const packed = bytes("pyodide/snapshot.bin");
  packed.catch(() => {}); // where it is awaited, it is told
  const wheel = (await lock).packages.tensortab;
  const fits = made.pyodide === (await pyodide).version && made.wheel_sha256 === wheel.sha256;
  if (!fits) throw new Error("the snapshot belongs to another build");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await packed));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== made.sha256) throw new Error("the snapshot is damaged");
  const memory = new Response(new Blob([await packed]).stream().pipeThrough(new DecompressionStream("gzip")));
  return { memory: new Uint8Array(await memory.arrayBuffer()), files: made.files };
}

async function startPython() {
  const module = script("pyodide/pyodide.mjs"), lock = json("pyodide/pyodide-lock.json");
  const memory = snapshot(module, lock);
  memory.catch(() => {});
  const { loadPyodide } = await module;
  ({ version } = await module);
  const options = { indexURL, lockFileContents: await lock, packageBaseUrl: indexURL };
  const fsInit = async (FS, { sitePackages }) => {
    for (const [path, text] of Object.entries((await memory).files)) {
      const target = `${sitePackages}/${path}`;
      FS.mkdirTree(target.slice(0, target.lastIndexOf("/")));
      FS.writeFile(target, text);
    }
  };
  try {
    const loading = loadPyodide({ ...options, fsInit, _loadSnapshot: memory.then((made) => made.memory) });
    return { pyodide: await Promise.race([broken, loading]), boot: "snapshot" };
  } catch (error) {
    if (error instanceof Offline) throw error;
    console.info(`Python starts without its snapshot: ${error.message}`);
    return { pyodide: await Promise.race([broken, loadPyodide({ ...options, packages: ["tensortab"] })]), boot: "cold" };
  }
}

async function start() {
  const [executor, tokenizers, jinja, { pyodide, boot }] = await Promise.all([
    script("executor.js").then((module) => {
      gpu = module.createExecutor();
      gpu.catch(() => {});
      return module;
    }),
    script("vendor/tokenizers.mjs"), script("vendor/jinja.js"), startPython(),
  ]);
  let first = gpu;
  const createExecutor = () => {
    const mine = first ?? executor.createExecutor();
    first = null;
    return mine;
  };
  pyodide.pyimport("tensortab.worker").start({ executor: { createExecutor }, tokenizers, jinja }, early, boot);
}

// Rejects when nothing that is awaited has come for a minute.
let timer;
const still = () => new Promise((_, reject) => {
  timer = setInterval(() => {
    const { paths, since } = waiting();
    if (!paths.length || performance.now() - since < STILL_MS) return;
    reject(new Error(`Nothing has come from the host for a minute (${paths.join(", ")}). Check the connection.`));
  }, 1000);
});

Promise.race([start(), still()]).catch(async (error) => {
  console.error(error);
  const message = `Python could not start: ${error.message.trim().split("\n").at(-1)}`; // the last line of a traceback
  const about = error instanceof Offline ? { code: "offline" } : { code: "start_failed", report: await report(error) };
  self.postMessage(JSON.stringify({ id: null, error: { ...about, message } }));
}).finally(() => clearInterval(timer));

async function report(error) {
  const info = await Promise.race([gpu, null]).then((known) => known?.info, (unknown) => ({ error: unknown.message }));
  return [
    `Pyodide ${version}`, `Browser: ${navigator.userAgent}`, `GPU: ${JSON.stringify({ ...info, limits: undefined })}`,
    "While starting", String(error), error.stack, // in Firefox the stack does not contain the message
  ].join("\n");
}
