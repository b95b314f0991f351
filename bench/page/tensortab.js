// TensorTab as its own site has it: the engine's worker, which runs bench/engine.py, for the other tasks bench/tasks.py.

// A worker's run(Python).
function start() {
  const worker = new Worker("tensortab/worker.js", { type: "module" });
  const waiting = new Map();
  let last = 0;
  worker.onmessage = ({ data }) => {
    const { id, result, error } = JSON.parse(data);
    if (result) waiting.get(id)?.resolve(result.text);
    if (error) for (const one of id === null ? waiting.values() : [waiting.get(id)]) one?.reject(new Error(error.message));
  };
  worker.onerror = ({ message }) => waiting.forEach((one) => one.reject(new Error(message)));
  const python = (source) => {
    waiting.set(++last, Promise.withResolvers());
    worker.postMessage(JSON.stringify({ id: last, method: "run", params: { source } }));
    return waiting.get(last).promise;
  };
  return { python, end: () => worker.terminate() };
}

export async function load() {
  const { python, end } = start();
  const text = await (await fetch("engine.py")).text();
  const about = JSON.parse(await python(`${text}\nawait load()`));
  return {
    about,
    generate: async (ids, count) => JSON.parse(await python(`await generate(${JSON.stringify(ids)}, ${count})`)),
    profile: async (ids) => JSON.parse(await python(`await profile(${JSON.stringify(ids)})`)),
    shapes: async (name) => {
      await python(await (await fetch("shapes.py")).text());
      return JSON.parse(await python(`pipe.free()\nawait measure(${JSON.stringify(name)})`));
    },
    free: async () => { await python("pipe.free()"); end(); },
  };
}

export async function task({ task, model, files }) {
  const { python, end } = start();
  const call = async (name, ...values) => {
    const given = values.map((value) => `json.loads(${JSON.stringify(JSON.stringify(value))})`);
    return JSON.parse(await python(`await ${name}(${given.join(", ")})`));
  };
  const here = (path) => new URL(path, import.meta.url).href;
  await python(await (await fetch("tasks.py")).text());
  const about = await call("load", task, files?.map((file) => here(`models/${model}/${file}`)) ?? model);
  return {
    about,
    measure: (inputs, warm, enough) => call("measure", inputs, here("."), warm, enough),
    profile: () => call("profile"),
    free: async () => { await python("pipe.free()"); end(); },
  };
}
