// y[i] = x[i] as a number of another dtype, for i < count. Fractions are truncated towards zero, and numbers out of
// range become the nearest that both f32 and the dtype can represent; between u32 and i32 the bits are kept.
// grid: ceil(count / 64) workgroups, folded in y. ref: ops astype. pick: always.
const FROM: u32 = 0u; // spec: 0u f32 | 1u u32 | 2u i32
const TO: u32 = 1u; // spec: 0u f32 | 1u u32 | 2u i32
const WG: u32 = 64u;

struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

fn converted(word: u32) -> u32 {
  if (FROM == 0u && TO == 1u) { return u32(clamp(bitcast<f32>(word), 0.0, 4294967040.0)); }
  if (FROM == 0u && TO == 2u) { return bitcast<u32>(i32(clamp(bitcast<f32>(word), -2147483648.0, 2147483520.0))); }
  if (FROM == 1u && TO == 0u) { return bitcast<u32>(f32(word)); }
  if (FROM == 2u && TO == 0u) { return bitcast<u32>(f32(bitcast<i32>(word))); }
  return word;
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * WG + id.x;
  if (i < p.count) { y[i] = converted(x[i]); }
}
