// y[r, c] = exp(x[r, c] - max(x[r, :])) / sum_c exp(x[r, c] - max(x[r, :])), one workgroup a row, two reads of x.
// x, y: [rows, cols] f32; any cols. -inf gives 0; a row of nothing but -inf, or with +inf or NaN, gives NaN or is
// undefined.
// grid: rows, folded in y: (min(rows, 65535), ceil(rows / 65535), 1). ref: ops softmax. pick: always.
const WG: u32 = 128u; // spec: a power of two, 4u to 256u

struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

var<workgroup> highs: array<f32, WG>;
var<workgroup> sums: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = id.y * grid.x + id.x;
  if (row >= p.rows) { return; }
  let base = row * p.cols;
  var high = -3.4e38; // not -inf: a lane without elements must not make inf - inf
  var sum = 0.0;
  for (var c = lane; c < p.cols; c += WG) {
    let v = x[base + c];
    if (v > high) {
      sum *= exp(high - v);
      high = v;
    }
    sum += exp(v - high);
  }
  highs[lane] = high;
  sums[lane] = sum;
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) {
      let top = max(highs[lane], highs[lane + step]);
      sums[lane] = sums[lane] * exp(highs[lane] - top) + sums[lane + step] * exp(highs[lane + step] - top);
      highs[lane] = top;
    }
    workgroupBarrier();
  }
  let scale = 1.0 / sums[0];
  for (var c = lane; c < p.cols; c += WG) { y[base + c] = epilogue(exp(x[base + c] - highs[0]) * scale, base + c); }
}
