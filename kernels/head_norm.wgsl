// y[t, h, :] = x[t, h, :] / sqrt(mean(x[t, h, :]^2) + eps) * g[0 or 1, :] for the heads of q (h < heads) and of k (the
// next kv_heads), x[t, h, :] for those of v (the last kv_heads): one workgroup a (t, h).
// x, y: [rows, heads + 2 kv_heads, head_dim] f32; g: [2, head_dim] f32, the gains of q and those of k.
// grid: N = rows * (heads + 2 kv_heads), folded in y: (min(N, 65535), ceil(N / 65535), 1). ref: ops head_norm.
// pick: always; software adapters use WG = 4u, since there the cost of a barrier grows with the invocations.
const WG: u32 = 64u; // spec: a power of two, 4u to 256u

struct Params { rows: u32, heads: u32, kv_heads: u32, head_dim: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

var<workgroup> part: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = id.y * grid.x + id.x;
  let all = p.heads + 2u * p.kv_heads;
  if (row >= p.rows * all) { return; }
  let base = row * p.head_dim;
  var sum = 0.0;
  for (var c = lane; c < p.head_dim; c += WG) {
    let v = x[base + c];
    sum += v * v;
  }
  part[lane] = sum;
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) { part[lane] += part[lane + step]; }
    workgroupBarrier();
  }
  let scale = inverseSqrt(part[0] / f32(p.head_dim) + p.eps);
  let h = row % all;
  let gains = select(0u, p.head_dim, h >= p.heads);
  for (var c = lane; c < p.head_dim; c += WG) {
    y[base + c] = x[base + c] * select(scale * g[gains + c], 1.0, h >= p.heads + p.kv_heads);
  }
}
