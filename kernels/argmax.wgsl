// y[r] = the lowest c with x[r, c] = max(x[r, :]), one workgroup a row. NaN is never chosen (a row of NaN gives 0).
// x: [rows, cols] f32 -> y: [rows] u32; any cols >= 1.
// grid: rows, folded in y: (min(rows, 65535), ceil(rows / 65535), 1). ref: ops argmax. pick: always.
const WG: u32 = 128u; // spec: a power of two, 4u to 256u
// include: best.wgsl

struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = id.y * grid.x + id.x;
  if (row >= p.rows) { return; }
  var key = 0u;
  var at = select(0xFFFFFFFFu, 0u, lane == 0u); // lanes without elements lose every tie
  for (var c = lane; c < p.cols; c += WG) {
    let k = ordered(x[row * p.cols + c]);
    if (k > key) {
      key = k;
      at = c;
    }
  }
  let found = best(lane, key, at);
  if (lane == 0u) { y[row] = found.y; }
}
