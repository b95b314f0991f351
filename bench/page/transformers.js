// Transformers.js on WebGPU, with everything from this site.

import { AutoModelForCausalLM, RawImage, Tensor, env, pipeline } from "./peers/transformers.min.js";

const MODEL = "SmolLM2-135M-Instruct";
const here = (path) => new URL(path, import.meta.url).href;

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = "models/"; // its pipelines find no tokenizer under a whole address
env.backends.onnx.wasm.wasmPaths = {
  mjs: here("peers/ort-wasm-simd-threaded.asyncify.mjs"),
  wasm: here("peers/ort-wasm-simd-threaded.asyncify.wasm"),
};

export async function load({ f16 }) {
  const dtype = f16 ? "q4f16" : "q4";
  const model = await AutoModelForCausalLM.from_pretrained(MODEL, { device: "webgpu", dtype });
  const int64 = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  return {
    about: { device: "webgpu", dtype },
    async generate(ids, count) {
      const started = performance.now(), made = [];
      let first = 0;
      const streamer = {
        put([[token]]) {
          if (this.prompted) {
            first ||= performance.now() - started;
            made.push(Number(token));
          }
          this.prompted = true; // the first call has the prompt
        },
        end() {},
      };
      const inputs = { inputs: int64(ids), attention_mask: int64(ids.map(() => 1)) };
      await model.generate({ ...inputs, max_new_tokens: count, do_sample: false, eos_token_id: null, streamer });
      return { ids: made, first, last: performance.now() - started };
    },
    free: () => model.dispose(),
  };
}

// What a pipeline is called with, in memory: texts, samples or pixels.
async function prepare({ texts, audio, images }) {
  if (texts) return texts;
  const bytes = async (path) => (await fetch(path)).arrayBuffer();
  if (audio) return new Float32Array(await bytes(audio));
  const image = async ({ path, width, height }) => new RawImage(new Uint8ClampedArray(await bytes(path)), width, height, 4);
  return Promise.all(images.map(image));
}

// How each task is called, and what it gives as JSON has it: vectors, text, or the best label of each image.
const CALLS = {
  "feature-extraction": async (pipe, texts) => (await pipe(texts, { pooling: "mean", normalize: true })).tolist(),
  "automatic-speech-recognition": async (pipe, audio) => (await pipe(audio)).text.trim(),
  "image-classification": async (pipe, images) => (await pipe(images, { top_k: 5 })).map(([best]) => best.label),
  "image-feature-extraction": async (pipe, images) => (await pipe(images)).normalize().tolist(),
};

export async function task({ task, model, dtype, subfolder }) {
  const pipe = await pipeline(task, model, { device: "webgpu", dtype, subfolder });
  return {
    about: { device: "webgpu", dtype, subfolder },
    async measure(inputs, warm, enough) {
      const ready = await prepare(inputs), ms = [];
      const begun = performance.now();
      do await CALLS[task](pipe, ready); while (performance.now() - begun < warm);
      let total = 0, result;
      while (total < enough) {
        const started = performance.now();
        result = await CALLS[task](pipe, ready);
        ms.push(performance.now() - started);
        total += ms.at(-1);
      }
      return { ms, result };
    },
    free: () => pipe.dispose(),
  };
}
