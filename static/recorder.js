// An audio worklet: sends the microphone's samples to the interface, a quarter of a second at a time, with their peak.
class Recorder extends AudioWorkletProcessor {
  block = new Float32Array(Math.ceil(sampleRate / 4));
  filled = 0;
  process([[heard]]) {
    for (const sample of heard ?? []) {
      this.block[this.filled++] = sample;
      if (this.filled < this.block.length) continue;
      const peak = this.block.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      this.port.postMessage([this.block, peak], [this.block.buffer]);
      [this.block, this.filled] = [new Float32Array(Math.ceil(sampleRate / 4)), 0];
    }
    return true;
  }
}
registerProcessor("recorder", Recorder);
