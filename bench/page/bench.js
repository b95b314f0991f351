// Runs every engine in turn, several times, with the same model, prompt and number of tokens; shows the medians as a
// table and gives everything as JSON, on the page and by POST to /result if asked.
// Knobs: ?runs=3&tokens=128&prompt=128&engines=tensortab,transformers.js&tasks=SmolLM2,MiniLM&inputs=1&shapes=Phi-3-mini&machine=...&post

import { agreement, tasks } from "./tasks.js";

// An engine's module has load(options) -> { about, generate(ids, count), free() }; generate gives { ids, first, last }:
// the milliseconds from its call to the first and to the last token, and the tokens where they can be had.
const ENGINES = {
  "tensortab": { module: "tensortab" },
  "transformers.js": { module: "transformers" },
  "wllama-webgpu": { module: "wllama", gpu: true },
  "wllama-wasm": { module: "wllama", gpu: false },
};
const MEASURES = ["load_s", "prompt_ms", "tokens_per_second"];

const asked = new URLSearchParams(location.search);
const number = (name, otherwise) => Number(asked.get(name) ?? otherwise);
const runs = number("runs", 3), tokens = number("tokens", 128), promptTokens = number("prompt", 128);
const names = asked.get("engines")?.split(",") ?? Object.keys(ENGINES);
const inputCount = number("inputs", 2); // of each task
const shapes = asked.get("shapes")?.split(",") ?? [];
const WARM_MS = 1500; // a GPU's clock takes about a second of work to rise
const TIMED_MS = 1500; // how long calls of a task are timed, at least one

const status = (text) => { document.querySelector("#status").textContent = text; };
const round = (value) => Number(value.toPrecision(4));
const json = async (path) => (await fetch(path)).json();

// While Chrome's GPU process starts there may be no adapter yet.
async function adapter() {
  for (let n = 0; n < 20; n++) {
    const found = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (found) return found;
    await new Promise((done) => setTimeout(done, 250));
  }
  throw new Error("This browser has no WebGPU adapter.");
}

// Calls work(engine, seconds of loading) with an engine that exists only meanwhile: what `start` of its module gives.
async function alone(name, options, work, start = "load") {
  const frame = document.createElement("iframe");
  frame.hidden = true;
  frame.src = `engine.html?module=${ENGINES[name].module}`;
  document.body.append(frame);
  try {
    await new Promise((done) => { frame.onload = done; });
    const started = performance.now();
    const engine = await (await /** @type {any} */ (frame.contentWindow).engine)[start]({ ...ENGINES[name], ...options });
    const seconds = (performance.now() - started) / 1000;
    const value = await work(engine, seconds);
    await engine.free();
    return value;
  } finally {
    frame.remove();
    await new Promise((done) => setTimeout(done, 500)); // what it had on the GPU goes
  }
}

// How many tokens are the reference's. Where its own two best logits are closer than 0.05, either is right, and what
// follows the other is not compared.
function compare(ids, { name, transformers: { ids: reference, top2 } }) {
  const n = ids.findIndex((id, n) => id !== reference[n]);
  if (n < 0) return { prompt: name, same: ids.length, of: ids.length, right: true };
  const [, best, second, next] = top2[n];
  return { prompt: name, same: n, of: ids.length, right: ids[n] === second && best - next < 0.05, ids };
}

// What an engine says of the reference's prompts.
async function check(engine, prompts) {
  const rows = [];
  for (const prompt of prompts) {
    const { ids } = await engine.generate(prompt.ids, Math.min(tokens, prompt.transformers.ids.length));
    if (ids) rows.push(compare(ids, prompt));
  }
  return rows;
}

function spread(values) {
  const sorted = values.toSorted((a, b) => a - b), middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median: round(median), min: sorted[0], max: sorted.at(-1) };
}

const summary = (rows) => Object.fromEntries(MEASURES.map((measure) => [measure, spread(rows.map((row) => row[measure]))]));

// One task, by TensorTab and then by Transformers.js in the types that the adapter has, each with attention of plain and
// of fused operators: what a call with each input takes (`ms`: the median of each run).
async function compareTask(name, { inputs, attention = true, ...what }, f16) {
  const engines = { "tensortab": { engine: "tensortab" } };
  for (const dtype of f16 ? ["fp16", "fp32"] : ["fp32"]) {
    for (const subfolder of attention ? ["onnx", "fused"] : ["onnx"]) {
      engines[`transformers.js ${dtype}${subfolder === "fused" ? " fused" : ""}`] = { engine: "transformers.js", dtype, subfolder };
    }
  }
  const rows = {}, results = {};
  for (let run = 0; run < runs; run++) {
    for (const [key, { engine, ...files }] of Object.entries(engines)) {
      const row = rows[key] ??= { load_s: [], inputs: {} };
      if (row.error || !names.includes(engine)) continue;
      status(`Run ${run + 1} of ${runs}: ${name}, ${key}`);
      try {
        await alone(engine, { ...what, ...files }, async (loaded, seconds) => {
          row.about = loaded.about;
          row.load_s.push(round(seconds));
          for (const [input, given] of Object.entries(inputs).slice(0, inputCount)) {
            const { ms, result } = await loaded.measure(given, WARM_MS, TIMED_MS);
            const one = row.inputs[input] ??= { ms: [], calls: 0 };
            one.ms.push(spread(ms).median);
            one.calls += ms.length;
            if (typeof result === "string" || typeof result[0] === "string") one.result = result;
            results[input] ??= {};
            results[input][key] = result;
            if (run === runs - 1) one.profile = await loaded.profile?.();
          }
        }, "task");
        for (const one of Object.values(row.inputs)) Object.assign(one, spread(one.ms));
      } catch (error) {
        row.error = String(error?.message ?? error);
      }
    }
  }
  for (const [input, { tensortab, ...others }] of Object.entries(results)) {
    for (const [key, theirs] of Object.entries(others)) if (tensortab) rows[key].inputs[input].agreement = agreement(tensortab, theirs);
  }
  return { ...what, engines: rows };
}

function show(engines, tasks = {}) {
  const head = "<tr><th>engine<th>load, s<th>prompt, ms<th>decode, tokens/s<th>";
  const rows = Object.entries(engines).map(([name, { summary, error, check }]) => {
    const cells = MEASURES.map((m) => summary ? `${summary[m].median} (${summary[m].min} to ${summary[m].max})` : "");
    const same = (check ?? []).reduce((sum, row) => sum + row.same, 0), of = (check ?? []).reduce((sum, row) => sum + row.of, 0);
    return `<tr><td>${[name, ...cells].join("<td>")}<td>${error ?? (of ? `${same} of ${of} tokens are the reference's` : "")}`;
  });
  for (const [task, { engines }] of Object.entries(tasks)) {
    for (const [name, { load_s, inputs, error }] of Object.entries(engines)) {
      const times = Object.entries(inputs).map(([input, { median }]) => `${input}: ${median} ms`).join("<br>");
      rows.push(`<tr><td>${task}, ${name}<td>${load_s.join(", ")}<td>${times}<td><td>${error ?? ""}`);
    }
  }
  document.querySelector("#table").innerHTML = head + rows.join("");
}

async function main() {
  const gpu = await adapter();
  const { vendor, architecture, device, description } = gpu.info;
  const features = ["shader-f16", "subgroups", "timestamp-query"].filter((name) => gpu.features.has(name));
  const site = await json("site.json");
  const options = { f16: features.includes("shader-f16"), versions: site.versions };
  const { prompts } = await json("reference.json");
  const long = prompts.find((prompt) => prompt.name === "long").ids;
  const ids = Array.from({ length: promptTokens }, (_, n) => long[n % long.length]);
  const checked = prompts.filter((prompt) => prompt.ids.length <= promptTokens);
  const wanted = (name) => asked.get("tasks")?.split(",").includes(name) ?? true;
  /** @type {Record<string, any>} */
  const engines = Object.fromEntries((wanted("SmolLM2") ? names : []).map((name) => [name, { runs: [] }]));
  const result = {
    date: new Date().toISOString().slice(0, 10),
    machine: asked.get("machine") ?? `${navigator.platform}, ${navigator.hardwareConcurrency} threads`,
    adapter: { vendor, architecture, device, description, fallback: gpu.info.isFallbackAdapter ?? false, features },
    userAgent: navigator.userAgent,
    crossOriginIsolated,
    ...site,
    settings: { runs, tokens, prompt: promptTokens },
    ...wanted("SmolLM2") && { engines },
  };
  for (let run = 0; run < runs; run++) {
    for (const name of Object.keys(engines).filter((name) => !engines[name].error)) {
      const row = engines[name];
      status(`Run ${run + 1} of ${runs}: ${name}`);
      try {
        await alone(name, options, async (engine, seconds) => {
          row.about = engine.about;
          if (!run) {
            row.check = await check(engine, name === "tensortab" ? checked : checked.slice(0, 1));
            const wrong = name === "tensortab" && row.check.find((one) => !one.right);
            if (wrong) throw new Error(`Not timed: token ${wrong.same} after "${wrong.prompt}" is not the reference's.`);
          }
          const begun = performance.now();
          do await engine.generate(ids, tokens); while (performance.now() - begun < WARM_MS);
          const { first, last } = await engine.generate(ids, tokens);
          const speed = 1000 * (tokens - 1) / (last - first);
          row.runs.push({ load_s: round(seconds), prompt_ms: round(first), tokens_per_second: round(speed) });
          if (run === runs - 1) row.profile = await engine.profile?.(ids);
        });
        row.summary = summary(row.runs);
      } catch (error) {
        row.error = String(error?.message ?? error);
      }
      show(engines);
    }
  }
  for (const [name, what] of Object.entries(tasks(site.inputs)).filter(([name]) => wanted(name))) {
    result.tasks ??= {};
    result.tasks[name] = await compareTask(name, what, options.f16);
    show(engines, result.tasks);
  }
  for (const name of shapes) {
    status(`Random weights in the shapes of ${name}`);
    result.shapes ??= {};
    try {
      result.shapes[name] = await alone("tensortab", options, (engine) => engine.shapes(name));
    } catch (error) {
      result.shapes[name] = { error: String(error?.message ?? error) };
    }
  }
  return result;
}

const result = await main().catch((error) => ({ error: String(error?.message ?? error) }));
const text = JSON.stringify(result, null, 1);
status("Done");
document.querySelector("#json").textContent = text;
if (asked.has("post")) await fetch("/result", { method: "POST", body: text });
