// wllama (llama.cpp), on WebGPU or on the processor, with the very bytes of TensorTab's model.

import { Tokenizer } from "./tensortab/vendor/tokenizers.mjs";
import { Wllama } from "./peers/wllama.js";

const MODEL = "tensortab/models/SmolLM2-135M-Instruct", TEXT = "models/SmolLM2-135M-Instruct";
const json = async (path) => (await fetch(path)).json();

export async function load({ gpu }) {
  const { shards } = await json(`${MODEL}/manifest.json`);
  const parts = shards.map(async ({ path }) => (await fetch(`${MODEL}/${path}`)).blob());
  const file = new File(await Promise.all(parts), "model.gguf");
  const said = [], say = (...words) => said.push(words.join(" "));
  const wllama = new Wllama({ default: "peers/wllama.wasm" }, { logger: { debug: say, log: say, warn: say, error: say } });
  await wllama.loadModel([file], { n_ctx: 2048, n_gpu_layers: gpu ? 99999 : 0 });
  const layers = said.join("\n").match(/offloaded (\d+\/\d+) layers to GPU/)?.[1] ?? "none";
  const tokenizer = new Tokenizer(await json(`${TEXT}/tokenizer.json`), await json(`${TEXT}/tokenizer_config.json`));
  return {
    about: {
      device: gpu ? "webgpu" : "wasm", layers_on_gpu: layers, threads: wllama.getNumThreads(),
      llama_cpp: Wllama.getLibllamaVersion(), said: said.filter((line) => /webgpu|offload|buffer size/i.test(line)),
    },
    async generate(ids, count) {
      const prompt = tokenizer.decode(ids, { skip_special_tokens: false }); // it takes and gives text only
      let timings;
      const onData = (chunk) => { timings = chunk.timings ?? timings; };
      const greedy = { temperature: 0, top_k: 1, ignore_eos: true, cache_prompt: false };
      await wllama.createCompletion({ prompt, max_tokens: count, stream: true, onData, ...greedy });
      const { prompt_n, prompt_ms, predicted_n, predicted_ms } = timings;
      if (prompt_n !== ids.length || predicted_n !== count) throw new Error(`${prompt_n} and ${predicted_n} tokens`);
      return { ids: null, first: prompt_ms, last: prompt_ms + predicted_ms }; // its own: its stream comes in batches
    },
    free: () => wllama.exit(),
  };
}
