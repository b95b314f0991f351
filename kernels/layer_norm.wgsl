// y[r, c] = (x[r, c] - mean(x[r, :])) / sqrt(var(x[r, :]) + eps) * g[c] + b[c] (arXiv:1607.06450), one workgroup a row.
// x, y: [rows, cols] f32; g, b: [cols] f32; any cols. The mean is computed first, then the variance about
// it: one pass for both loses digits where the mean is large.
// grid: rows, folded in y: (min(rows, 65535), ceil(rows / 65535), 1). ref: ops layer_norm. pick: always; software
// adapters use WG = 4u, since there the cost of a barrier grows with the invocations.
const WG: u32 = 128u; // spec: a power of two, 4u to 256u

struct Params { rows: u32, cols: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

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
  let mean = total(sum, lane) / f32(p.cols);
  sum = 0.0;
  for (var c = lane; c < p.cols; c += WG) {
    let v = x[base + c] - mean;
    sum += v * v;
  }
  let scale = inverseSqrt(total(sum, lane) / f32(p.cols) + p.eps);
  for (var c = lane; c < p.cols; c += WG) {
    y[base + c] = epilogue((x[base + c] - mean) * scale * g[c] + b[c], base + c);
  }
}
