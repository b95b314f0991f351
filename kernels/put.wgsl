// y[ids[r], :] = x[r, :], in place, in a table that lookup (embedding.wgsl) reads. Rows beyond the table are not
// stored; among equal ids any one wins.
// x: [batch, rows, k] f32, x_row elements from one row to the next, x_batch from batch to batch, from element x_start
// on; ids: [batch * rows] u32; y: [count, k] f32; any k.
// grid: ceil(batch * rows * k / WG), folded in y: (min(G, 65535), ceil(G / 65535), 1). ref: ops put. pick: always.
const WG: u32 = 64u; // spec: 4u to 256u

struct Params { batch: u32, rows: u32, k: u32, count: u32, x_start: u32, x_row: u32, x_batch: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * WG + id.x;
  let r = i / p.k;
  if r >= p.batch * p.rows { return; }
  let to = ids[r];
  if to >= p.count { return; }
  y[to * p.k + i % p.k] = x[p.x_start + r / p.rows * p.x_batch + r % p.rows * p.x_row + i % p.k];
}
