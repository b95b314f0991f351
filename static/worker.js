// The engine's worker: starts Python (from its memory snapshot where there is one), registers the parts
// that are JavaScript and leaves the rest to tensortab/worker.py. app/studio/protocol.json describes its messages.

import { loadPyodide, version } from "./pyodide/pyodide.mjs";
import * as executor from "./executor.js";
import * as jinja from "./vendor/jinja.js";
import * as tokenizers from "./vendor/tokenizers.mjs";

const early = []; // messages that arrive before Python is up
self.onmessage = ({ data }) => early.push(data);

const indexURL = new URL("pyodide/", import.meta.url).href;

// The GPU is requested while Python starts; the engine's first createExecutor returns that one.
let first = executor.createExecutor();
first.catch(() => {});
const createExecutor = () => {
  const mine = first ?? executor.createExecutor();
  first = null;
  return mine;
};

class Offline extends Error {}

async function file(path) {
  let response, bytes;
  try {
    response = await fetch(new URL(path, indexURL));
    bytes = await response.arrayBuffer();
  } catch ({ message }) {
    throw new Offline(`${path}: there is no connection to the host (${message})`);
  }
  if (!response.ok) throw new Error(`${path}: the host answered with status ${response.status}`);
  return bytes;
}

const json = async (path) => JSON.parse(new TextDecoder().decode(await file(path)));

// The memory (gzipped) of exactly this Pyodide with exactly this wheel imported, and the wheel's files.
async function snapshot(wheel) {
  const made = await json("snapshot.json");
  const fits = made.pyodide === version && made.wheel_sha256 === wheel.sha256;
  if (!fits) throw new Error("the snapshot belongs to another build");
  const packed = await file("snapshot.bin");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", packed));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== made.sha256) throw new Error("the snapshot is damaged");
  const memory = new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
  return { memory: new Uint8Array(await memory.arrayBuffer()), files: made.files };
}

async function startPython(lock) {
  const options = { indexURL, lockFileContents: lock, packageBaseUrl: indexURL };
  try {
    const { memory, files } = await snapshot(lock.packages.tensortab);
    const fsInit = (FS, { sitePackages }) => {
      for (const [path, text] of Object.entries(files)) {
        const target = `${sitePackages}/${path}`;
        FS.mkdirTree(target.slice(0, target.lastIndexOf("/")));
        FS.writeFile(target, text);
      }
    };
    return { pyodide: await loadPyodide({ ...options, fsInit, _loadSnapshot: memory }), boot: "snapshot" };
  } catch (error) {
    console.info(`Python starts without its snapshot: ${error.message}`);
    return { pyodide: await loadPyodide({ ...options, packages: ["tensortab"] }), boot: "cold" };
  }
}

try {
  const lock = await json("pyodide-lock.json");
  const { pyodide, boot } = await startPython(lock);
  const modules = { executor: { createExecutor }, tokenizers, jinja };
  pyodide.pyimport("tensortab.worker").start(modules, early, boot);
} catch (error) {
  console.error(error);
  const message = `Python could not start: ${error.message.trim().split("\n").at(-1)}`; // the last line of a traceback
  const about = error instanceof Offline ? { code: "offline" } : { code: "start_failed", report: await report(error) };
  self.postMessage(JSON.stringify({ id: null, error: { ...about, message } }));
}

async function report(error) {
  const gpu = await Promise.race([first, null]).then((known) => known?.info, (unknown) => ({ error: unknown.message }));
  return [
    `Pyodide ${version}`, `Browser: ${navigator.userAgent}`, `GPU: ${JSON.stringify({ ...gpu, limits: undefined })}`,
    "While starting", String(error), error.stack, // in Firefox the stack does not contain the message
  ].join("\n");
}
