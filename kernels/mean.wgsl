// y[n, c] = sum over r of x[n, r, c] / rows: the mean of each column, of all positions of an image.
// x: [batch, rows, cols] f32 -> y: [batch, cols] f32, any sizes. A workgroup sums 16 columns; WG / 16 invocations share
// a column and read its rows in turn; their sums are added in workgroup memory.
// grid: (ceil(cols / 16), batch). ref: ops mean. pick: always; software adapters use WG = 16u, since there the cost of
// a barrier grows with the invocations.
const WG: u32 = 256u; // spec: 16u times a power of two

struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

var<workgroup> part: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let c = id.x * 16u + lane % 16u;
  var sum = 0.0;
  if (c < p.cols) {
    for (var r = lane / 16u; r < p.rows; r += WG / 16u) { sum += x[(id.y * p.rows + r) * p.cols + c]; }
  }
  part[lane] = sum;
  workgroupBarrier();
  for (var step = WG / 2u; step >= 16u; step /= 2u) {
    if (lane < step) { part[lane] += part[lane + step]; }
    workgroupBarrier();
  }
  if (lane < 16u && c < p.cols) {
    let i = id.y * p.cols + c;
    y[i] = epilogue(part[lane] / f32(p.rows), i);
  }
}
