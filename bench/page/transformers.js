// Transformers.js on WebGPU, with everything from this site.

import { AutoModelForCausalLM, Tensor, env } from "./peers/transformers.min.js";

const MODEL = "SmolLM2-135M-Instruct";
const here = (path) => new URL(path, import.meta.url).href;

export async function load({ f16 }) {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = here("models/");
  env.backends.onnx.wasm.wasmPaths = {
    mjs: here("peers/ort-wasm-simd-threaded.asyncify.mjs"),
    wasm: here("peers/ort-wasm-simd-threaded.asyncify.wasm"),
  };
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
