// Sampling, 2 of 4 (see sample.wgsl): hist = for each bin of d = max - x the number of tokens, and the sum of
// exp(-(d - start of the bin) / temperature) * 2^20 in two words (low 16 bits, the rest). One workgroup a slice of 1024
// tokens. It returns at once without top-k and top-p. Bindings and sizes: sample_max.wgsl.
// grid: (slices, 1, 1). ref: ops sample. pick: always.
// include: sample.wgsl
// include: best.wgsl

struct Params { vocab: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> settings: Settings;
@group(0) @binding(3) var<storage, read> parts: array<u32>;
@group(0) @binding(4) var<storage, read_write> hist: array<atomic<u32>>;
@group(0) @binding(5) var<uniform> p: Params;

var<workgroup> counts: array<atomic<u32>, BINS>;
var<workgroup> masses: array<atomic<u32>, BINS>; // at most 1024 * 2^20

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let limited = settings.top_k > 0u && settings.top_k < p.vocab;
  if (state[1] != 0u || settings.temperature == 0.0 || (!limited && settings.top_p >= 1.0)) { return; }
  for (var b = lane; b < BINS; b += WG) { // wgpu-native on lavapipe does not zero workgroup memory
    atomicStore(&counts[b], 0u);
    atomicStore(&masses[b], 0u);
  }
  let top = value(largest(lane, grid.x).x);
  for (var i = id.x * SLICE + lane; i < min((id.x + 1u) * SLICE, p.vocab); i += WG) {
    let d = top - logits[i];
    let b = bin(d);
    atomicAdd(&counts[b], 1u);
    atomicAdd(&masses[b], u32(weight(d - bin_start(b), settings.temperature) * 1048576.0 + 0.5));
  }
  workgroupBarrier();
  for (var b = lane; b < BINS; b += WG) {
    let count = atomicLoad(&counts[b]);
    if (count == 0u) { continue; }
    let mass = atomicLoad(&masses[b]);
    atomicAdd(&hist[b], count);
    atomicAdd(&hist[BINS + b], mass & 0xFFFFu);
    atomicAdd(&hist[2u * BINS + b], mass >> 16u);
  }
}
