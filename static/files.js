// Loads the app's files for the interface and for the engine's worker, and says of one that cannot be used why.

const ROOT = new URL("./", import.meta.url);

export class Offline extends Error {}

// What does not come has a time; `waiting()` are the files that are awaited and the time when something last came.
const awaited = new Set();
let moved = performance.now();
export const waiting = () => ({ paths: [...awaited], since: moved });

async function load(path, how) {
  awaited.add(path);
  try {
    return await how(new URL(path, ROOT));
  } finally {
    awaited.delete(path);
    moved = performance.now();
  }
}

const answered = (path, response) => {
  if (!response.ok) throw new Error(`${path}: the host answered with status ${response.status}.`);
  return response;
};

const lost = (path, { message }) => new Offline(`${path}: there is no connection to the host (${message}).`);

export const bytes = (path) => load(path, async (url) => {
  let response, data;
  const moves = new TransformStream({
    transform(chunk, controller) {
      moved = performance.now();
      controller.enqueue(chunk);
    },
  });
  try {
    response = await fetch(url);
    data = await new Response(response.body.pipeThrough(moves)).arrayBuffer();
  } catch (error) {
    throw lost(path, error);
  }
  answered(path, response);
  return data;
});

export async function json(path) {
  const text = new TextDecoder().decode(await bytes(path));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${path}: the file is damaged (${error.message}).`, { cause: error });
  }
}

export const script = (path) => load(path, async (url) => {
  try {
    return await import(url.href);
  } catch (error) {
    const response = await fetch(url).catch((gone) => { throw lost(path, gone); });
    const type = answered(path, response).headers.get("Content-Type") ?? "";
    if (type.includes("javascript")) throw new Error(`${path}: the file is damaged (${error.message}).`, { cause: error });
    throw new Error(`${path}: the host sends it as “${type}”, but browsers run only “text/javascript”. The host's ` +
      "settings must name this type for .js and .mjs files.", { cause: error });
  }
});

// Both Pythons are compiled while they arrive. Browsers do that only where the host names the type of .wasm files; where
// it does not, the type is set here. What is wrong with a file rejects `broken`: Pyodide would wait for it for ever.
const { promise, reject } = Promise.withResolvers();
promise.catch(() => {});
export const broken = promise;
const { instantiateStreaming } = WebAssembly;
WebAssembly.instantiateStreaming = async (source, imports) => {
  let path = "A .wasm file";
  try {
    const response = await Promise.resolve(source).catch((error) => { throw lost(path, error); });
    path = response.url.replace(ROOT.href, "");
    answered(path, response);
    const headers = { "Content-Type": "application/wasm" };
    const typed = response.headers.get("Content-Type") === headers["Content-Type"];
    return await load(path, () => instantiateStreaming(typed ? response : new Response(response.body, { headers }), imports));
  } catch (error) {
    const known = error instanceof Offline || error.message.startsWith(path);
    reject(known ? error : new Error(`${path}: the file is damaged (${error.message}).`, { cause: error }));
    throw error;
  }
};
