// y[h, t, s] = table[buckets[clamp(s - t - pos + far, 0, 2 far)], h] with pos = position[0]: the bias of a score for
// the distance of the key s from the query pos + t (T5, arXiv:1910.10683); distances beyond `far` count as `far`.
// table: [buckets, heads] f32, buckets: [2 far + 1] u32, for distances -far..far -> y: [heads, rows, cols] f32.
// grid: ceil(heads * rows * cols / WG), folded in y: (min(G, 65535), ceil(G / 65535), 1). ref: ops relative_bias.
// pick: always.
const WG: u32 = 64u; // spec: 4u to 256u

struct Params { heads: u32, rows: u32, cols: u32, far: u32 }
@group(0) @binding(0) var<storage, read> table: array<f32>;
@group(0) @binding(1) var<storage, read> buckets: array<u32>;
@group(0) @binding(2) var<storage, read> position: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * WG + id.x;
  if i >= p.heads * p.rows * p.cols { return; }
  let query = i / p.cols % p.rows + position[0];
  let distance = clamp(i32(i % p.cols) - i32(query) + i32(p.far), 0, 2 * i32(p.far));
  y[i] = table[buckets[distance] * p.heads + i / p.cols / p.rows];
}
