// y[r, c] = x[r, c] / sqrt(mean(x[r, :]^2) + eps) * g[c], one workgroup a row.
// x, y: [rows, cols] f32; g: [cols] f32; any cols.
// grid: rows, folded in y: (min(rows, 65535), ceil(rows / 65535), 1). ref: ops rms_norm. pick: always; software
// adapters use WG = 4u, since there the cost of a barrier grows with the invocations.
const WG: u32 = 128u; // spec: a power of two, 4u to 256u

struct Params { rows: u32, cols: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

var<workgroup> part: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = id.y * grid.x + id.x;
  if (row >= p.rows) { return; }
  let base = row * p.cols;
  var sum = 0.0;
  for (var c = lane; c < p.cols; c += WG) {
    let v = x[base + c];
    sum += v * v;
  }
  part[lane] = sum;
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) { part[lane] += part[lane + step]; }
    workgroupBarrier();
  }
  let scale = inverseSqrt(part[0] / f32(p.cols) + p.eps);
  for (var c = lane; c < p.cols; c += WG) {
    y[base + c] = epilogue(x[base + c] * scale * g[c], base + c);
  }
}
