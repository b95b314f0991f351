// Attention (attention.wgsl) of few query rows over a long context, first half: the positions 0 .. pos + t are cut into
// `splits` slices of equal length, at least AT_LEAST; one workgroup a (slice, h, t) writes its part of the weighted
// sum. parts: [rows, heads, splits, head_dim + 2] f32: the sum of exp(score - m) v, then m, then the sum of exp(score -
// m). A slice without positions writes only the latter two: the lowest number and 0. attention_merge.wgsl joins the
// slices. The other bindings: attention.wgsl. head_dim: a multiple of 8, at most 256.
// grid: (splits, heads, rows). ref: ops attention. pick: one row at a position from LONG on (generate.py).
// include: rope.wgsl
// include: attend.wgsl
const AT_LEAST: u32 = 64u; // spec: positions a slice has at least

struct Params { rows: u32, heads: u32, kv_heads: u32, head_dim: u32, context: u32, splits: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> rope_table: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> kcache: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> vcache: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let pos = state[0] + id.z;
  let count = min(pos + 1u, p.context);
  let length = max((count + p.splits - 1u) / p.splits, AT_LEAST);
  let first = id.x * length;
  let base = ((id.z * p.heads + id.y) * p.splits + id.x) * (p.head_dim + 2u);
  if (first >= count) {
    if (lane == 0u) {
      parts[base + p.head_dim] = LOWEST;
      parts[base + p.head_dim + 1u] = 0.0;
    }
    return;
  }
  let q = (id.z * (p.heads + 2u * p.kv_heads) + id.y) * p.head_dim;
  let found = attend(q, id.y / (p.heads / p.kv_heads), pos, first, min(first + length, count), lane);
  for (var e = lane; e < p.head_dim; e += WG) { parts[base + e] = output(e); }
  if (lane == 0u) {
    parts[base + p.head_dim] = found.highest;
    parts[base + p.head_dim + 1u] = found.total;
  }
}
