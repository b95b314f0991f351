// Resizes an image along one axis like Pillow: y[a, o, b] = sum over i of x[a, first(o) + i, b] * weight(o, i), for
// each byte separately, rounded to 8 bits.
// x: [.., size, step] u32 of 4 bytes each, table: [out_size, 1 + taps] i32, first(o) and then the weights with 22 bits
// of fraction -> y: [.., out_size, step], count of them.
// grid: ceil(count / 64), folded in y. ref: ops resize. pick: always, once for each axis.

struct Params { count: u32, size: u32, out_size: u32, step: u32, taps: u32 }
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * 64u + id.x;
  if (i >= p.count) { return; }
  let b = i % p.step;
  let o = i / p.step % p.out_size;
  let base = i / p.step / p.out_size * p.size * p.step + b;
  let row = o * (p.taps + 1u);
  let first = u32(table[row]);
  var sums = vec4<i32>(1 << 21u);
  for (var t = 0u; t < p.taps; t++) {
    let v = x[base + min(first + t, p.size - 1u) * p.step]; // beyond the end with weight 0
    sums += table[row + 1u + t] * vec4<i32>(vec4<u32>(v, v >> 8u, v >> 16u, v >> 24u) & vec4<u32>(255u));
  }
  let rounded = vec4<u32>(clamp(sums >> vec4<u32>(22u), vec4<i32>(), vec4<i32>(255)));
  y[i] = rounded.x | (rounded.y << 8u) | (rounded.z << 16u) | (rounded.w << 24u);
}
