// Whisper's rules for timestamps, 2 of 2 (see timestamps.wgsl): y = logits + mask, or NEVER for a token that may not
// follow, one workgroup a slice.
// logits, y: [vocab] f32; masks: [2, vocab] f32; tokens: u32 [...]; state: 8 u32; parts: timestamp_rules_part.wgsl.
// grid: (ceil(vocab / 1024), 1, 1). ref: ops timestamp_rules. pick: always.
// include: timestamps.wgsl
// include: reduce.wgsl

struct Params { vocab: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> masks: array<f32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read> state: array<u32>;
@group(0) @binding(4) var<storage, read> rules: Rules;
@group(0) @binding(5) var<storage, read> parts: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  var from_ = allowed(lane);
  var tops = vec2(NEVER);
  for (var s = lane; s < grid.x; s += WG) { tops = max(tops, vec2(parts[s * EACH], parts[s * EACH + 1u])); }
  let text = highest(tops.x, lane);
  let top = highest(tops.y, lane);
  var sum = 0.0;
  for (var s = lane; s < grid.x; s += WG) { sum += parts[s * EACH + 2u] * exp(parts[s * EACH + 1u] - top); }
  sum = total(sum, lane);
  if (sum > 0.0 && top + log(sum) > text) { from_.x = 0xFFFFFFFFu; }
  let end = min((id.x + 1u) * SLICE, p.vocab);
  for (var i = id.x * SLICE + lane; i < end; i += WG) { y[i] = ruled(i, from_); }
}
