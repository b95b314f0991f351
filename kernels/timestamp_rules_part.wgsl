// Whisper's rules for timestamps, 1 of 2 (see timestamps.wgsl): parts[slice] = (the largest logit of a text token, that
// of a timestamp, the sum over its timestamps of exp(logit - that)), after the rules, one workgroup a slice.
// logits: [vocab] f32; masks: [2, vocab] f32; tokens: u32 [...]; state: 8 u32; parts: [3 slices] f32;
// slices = ceil(vocab / 1024).
// grid: (slices, 1, 1). ref: ops timestamp_rules. pick: always.
// include: timestamps.wgsl
// include: reduce.wgsl

struct Params { vocab: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> masks: array<f32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read> state: array<u32>;
@group(0) @binding(4) var<storage, read> rules: Rules;
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let from_ = allowed(lane);
  let end = min((id.x + 1u) * SLICE, p.vocab);
  var tops = vec2(NEVER);
  for (var i = id.x * SLICE + lane; i < end; i += WG) {
    let v = ruled(i, from_);
    if (i < rules.first) { tops.x = max(tops.x, v); } else { tops.y = max(tops.y, v); }
  }
  let text = highest(tops.x, lane);
  let top = highest(tops.y, lane);
  var sum = 0.0;
  for (var i = max(id.x * SLICE, rules.first) + lane; i < end; i += WG) { sum += exp(ruled(i, from_) - top); }
  sum = total(sum, lane);
  if (lane == 0u) {
    parts[id.x * EACH] = text;
    parts[id.x * EACH + 1u] = top;
    parts[id.x * EACH + 2u] = sum;
  }
}
