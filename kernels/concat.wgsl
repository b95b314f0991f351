// Copies one of several tensors to its place in y: y[i / part * whole + start + i % part] = x[i] for i < count, where
// `part` words of x and `whole` words of y belong to one index of the axes before. x, y: words of any 4-byte dtype.
// grid: ceil(count / 64) workgroups, folded in y. ref: ops concat. pick: always, once for each tensor.
const WG: u32 = 64u;

struct Params { count: u32, part: u32, whole: u32, start: u32 }
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * WG + id.x;
  if (i < p.count) { y[i / p.part * p.whole + p.start + i % p.part] = x[i]; }
}
