// y[r] = max(x[r, :]), or min(x[r, :]), one workgroup a row. x: [rows, cols] f32, any cols >= 1 -> y: [rows] f32.
// grid: rows, folded in y: (min(rows, 65535), ceil(rows / 65535), 1). ref: ops max and min. pick: always; software
// adapters use WG = 4u, since there the cost of a barrier grows with the invocations.
const LEAST: bool = false; // spec: true | false  the minimum instead
const WG: u32 = 128u; // spec: a power of two, 4u to 256u

struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

var<workgroup> part: array<f32, WG>;

fn better(a: f32, b: f32) -> f32 { return select(max(a, b), min(a, b), LEAST); }

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = id.y * grid.x + id.x;
  if (row >= p.rows) { return; }
  let base = row * p.cols;
  var top = x[base]; // a lane without elements has the first one
  for (var c = lane; c < p.cols; c += WG) { top = better(top, x[base + c]); }
  part[lane] = top;
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) { part[lane] = better(part[lane], part[lane + step]); }
    workgroupBarrier();
  }
  if (lane == 0u) { y[row] = part[0]; }
}
