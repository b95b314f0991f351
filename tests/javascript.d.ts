// Names that our JavaScript takes from elsewhere: modules that the build puts beside it, and an audio worklet's globals.
declare module "*/pyodide.mjs";
declare module "*/jinja.js";
declare module "*/tokenizers.mjs";
declare module "*/core.js";
declare module "*/transformers.min.js";
declare module "*/wllama.js";
declare var tensortab: any;
declare var sampleRate: number;
declare class AudioWorkletProcessor {
  port: MessagePort;
}
declare function registerProcessor(name: string, processor: unknown): void;
