// Sampling, 1 of 4 (see sample.wgsl): parts[slice] = (key of the slice's largest logit, its first token), one workgroup
// a slice. With LOGPROBS also the slice's sum of exp(x - largest logit). Clears hist for sample_histogram.
// logits: [vocab] f32; state: 8 u32; parts: [16 + 8 slices] u32; hist: [3 * BINS] u32; slices = ceil(vocab / 1024).
// grid: (slices, 1, 1). ref: ops sample. pick: always.
// include: sample.wgsl
// include: best.wgsl
const LOGPROBS: bool = false; // spec: true in plans with sample_logprobs

struct Params { vocab: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> settings: Settings;
@group(0) @binding(3) var<storage, read_write> parts: array<u32>;
@group(0) @binding(4) var<storage, read_write> hist: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  if (state[1] != 0u) { return; }
  if (settings.temperature != 0.0) {
    for (var n = id.x * WG + lane; n < 3u * BINS; n += grid.x * WG) { hist[n] = 0u; }
  }
  let end = min((id.x + 1u) * SLICE, p.vocab);
  var key = 0u;
  var token = 0xFFFFFFFFu;
  for (var i = id.x * SLICE + lane; i < end; i += WG) {
    let k = ordered(logits[i]);
    if (k > key || token == 0xFFFFFFFFu) {
      key = k;
      token = i;
    }
  }
  let found = best(lane, key, token);
  let part = HEAD + id.x * EACH;
  if (lane == 0u) {
    parts[part] = found.x;
    parts[part + 1u] = found.y;
  }
  if (LOGPROBS) {
    var sum = 0.0;
    for (var i = id.x * SLICE + lane; i < end; i += WG) { sum += exp(logits[i] - value(found.x)); }
    let sums = scan(lane, vec2(sum, 0.0));
    if (lane == 0u) { parts[part + 4u] = bitcast<u32>(sums.z); }
  }
}
