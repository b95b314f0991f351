// matmul without barriers: an invocation computes 4 rows by 8 columns of y. Bindings, shapes and formula:
// matmul_batched.wgsl.
// grid: ceil(batch * ceil(m / 4) * ceil(n / 8) / 8), folded in y. ref: ops matmul. pick: software adapters.

struct Params { batch: u32, m: u32, n: u32, k: u32, a_batch: u32, b_batch: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

fn store4(v: vec4<f32>, z: u32, row: u32, column: u32) {
  if (row >= p.m) { return; }
  let i = (z * p.m + row) * p.n + column;
  if (column < p.n) { y[i] = epilogue(v.x, i); }
  if (column + 1u < p.n) { y[i + 1u] = epilogue(v.y, i + 1u); }
  if (column + 2u < p.n) { y[i + 2u] = epilogue(v.z, i + 2u); }
  if (column + 3u < p.n) { y[i + 3u] = epilogue(v.w, i + 3u); }
}

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * 8u + id.x;
  let across = (p.n + 7u) / 8u;
  let down = (p.m + 3u) / 4u;
  let z = i / (across * down);
  if (z >= p.batch) { return; }
  let row = i / across % down * 4u;
  let column = i % across * 8u;
  let rows = min(row + vec4(0u, 1u, 2u, 3u), vec4(p.m - 1u));
  let left = min(column + vec4(0u, 1u, 2u, 3u), vec4(p.n - 1u));
  let right = min(column + vec4(4u, 5u, 6u, 7u), vec4(p.n - 1u));
  let from_ = z * p.a_batch + rows * p.k;
  var at = z * p.b_batch;
  var sums = array<vec4<f32>, 8>();
  for (var k = 0u; k < p.k; k++) {
    let u = vec4(a[from_.x + k], a[from_.y + k], a[from_.z + k], a[from_.w + k]);
    let v = vec4(b[at + left.x], b[at + left.y], b[at + left.z], b[at + left.w]);
    let w = vec4(b[at + right.x], b[at + right.y], b[at + right.z], b[at + right.w]);
    sums[0] += u.x * v;
    sums[1] += u.x * w;
    sums[2] += u.y * v;
    sums[3] += u.y * w;
    sums[4] += u.z * v;
    sums[5] += u.z * w;
    sums[6] += u.w * v;
    sums[7] += u.w * w;
    at += p.n;
  }
  for (var r = 0u; r < 4u; r++) {
    store4(sums[2u * r], z, row + r, column);
    store4(sums[2u * r + 1u], z, row + r, column + 4u);
  }
}
