// y[r] = sum(x[r, :]), one workgroup a row. It does little but read, four words at a time: the Lab measures the
// memory's bandwidth with it.
// x: [rows, cols] f32, cols a multiple of 4 -> y: [rows] f32.
// grid: rows, folded in y: (min(rows, 65535), ceil(rows / 65535), 1). ref: ops sum. pick: where the
// columns are a multiple of 4, else sum_scalar; software adapters use WG = 4u, since there the cost of a barrier grows
// with the invocations.
const WG: u32 = 256u; // spec: a power of two, 4u to 256u

struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

var<workgroup> part: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = id.y * grid.x + id.x;
  if (row >= p.rows) { return; }
  let count = p.cols / 4u;
  let base = row * count;
  var sums = array<vec4<f32>, 4>(); // four loads in flight
  var c = lane;
  for (; c + 3u * WG < count; c += 4u * WG) {
    let a = x[base + c];
    let b = x[base + c + WG];
    let d = x[base + c + 2u * WG];
    let e = x[base + c + 3u * WG];
    sums[0] += a;
    sums[1] += b;
    sums[2] += d;
    sums[3] += e;
  }
  for (; c < count; c += WG) { sums[0] += x[base + c]; }
  part[lane] = dot((sums[0] + sums[1]) + (sums[2] + sums[3]), vec4(1.0));
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) { part[lane] += part[lane + step]; }
    workgroupBarrier();
  }
  if (lane == 0u) { y[row] = epilogue(part[0], row); }
}
