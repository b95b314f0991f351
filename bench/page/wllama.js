// wllama (llama.cpp), on WebGPU or on the processor, with the very bytes of TensorTab's model.

import { Wllama, LoggerWithoutDebug } from "./peers/wllama.js";

const MODEL = "tensortab/models/SmolLM2-135M-Instruct";

export async function load({ gpu }) {
  const { shards } = await (await fetch(`${MODEL}/manifest.json`)).json();
  const parts = shards.map(async ({ path }) => (await fetch(`${MODEL}/${path}`)).blob());
  const file = new File(await Promise.all(parts), "model.gguf");
  const wllama = new Wllama({ default: "peers/wllama.wasm" }, { logger: LoggerWithoutDebug, suppressNativeLog: true });
  await wllama.loadModel([file], { n_ctx: 2048, n_gpu_layers: gpu ? 99999 : 0 });
  return {
    about: { device: gpu ? "webgpu" : "wasm", threads: wllama.getNumThreads(), llama_cpp: Wllama.getLibllamaVersion() },
    async generate(ids, count) {
      const started = performance.now();
      let first = 0;
      const onData = () => { first ||= performance.now() - started; };
      const greedy = { temperature: 0, top_k: 1, ignore_eos: true, cache_prompt: false };
      await wllama.createCompletion({ prompt: ids, max_tokens: count, stream: true, onData, ...greedy });
      return { ids: null, first, last: performance.now() - started };
    },
    free: () => wllama.exit(),
  };
}
