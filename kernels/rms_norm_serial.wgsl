// y[r, c] = x[r, c] / sqrt(mean(x[r, :]^2) + eps) * g[c], one invocation for PART columns of a row, no barrier: each sums the
// squares of the whole row itself.
// x, y: [rows, cols] f32; g: [cols] f32; any cols.
// grid: (ceil(cols / PART / WG), rows) with rows folded in z: (ceil(ceil(cols / PART) / WG), min(rows, 65535), ceil(rows / 65535)).
// ref: ops.py rms_norm. pick: software adapters.
const WG: u32 = 4u;     // spec: 4u to 64u
const PART: u32 = 128u; // spec: columns an invocation writes

struct Params { rows: u32, cols: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let row = id.z * grid.y + id.y;
  let first = id.x * PART;
  if (row >= p.rows || first >= p.cols) { return; }
  let base = row * p.cols;
  var sum = 0.0;
  for (var c = 0u; c < p.cols; c++) {
    let v = x[base + c];
    sum += v * v;
  }
  let scale = inverseSqrt(sum / f32(p.cols) + p.eps);
  for (var c = first; c < min(first + PART, p.cols); c++) {
    y[base + c] = epilogue(x[base + c] * scale * g[c], base + c);
  }
}
