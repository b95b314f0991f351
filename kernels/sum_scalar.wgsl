// y[r] = sum(x[r, :]), one workgroup a row: sum.wgsl for any number of columns, one word at a time.
// x: [rows, cols] f32 -> y: [rows] f32.
// grid: rows, folded in y: (min(rows, 65535), ceil(rows / 65535), 1). ref: ops sum. pick: where the columns are not a
// multiple of 4; software adapters use WG = 4u, since there the cost of a barrier grows with the invocations.
const WG: u32 = 128u; // spec: a power of two, 4u to 256u

struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

// include: reduce.wgsl

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = id.y * grid.x + id.x;
  if (row >= p.rows) { return; }
  let base = row * p.cols;
  var sum = 0.0;
  for (var c = lane; c < p.cols; c += WG) { sum += x[base + c]; }
  let all = total(sum, lane);
  if (lane == 0u) { y[row] = epilogue(all, row); }
}
