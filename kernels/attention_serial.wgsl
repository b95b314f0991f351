// y[t, h, :] = causal attention like attention.wgsl, without barriers: one invocation a (t, h), online softmax in f32.
// Bindings and params: attention.wgsl, but the caches are read as u32 and head_dim is any even number up to 256.
// grid: ceil(rows * heads / WG) workgroups, folded in y: (min(n, 65535), ceil(n / 65535), 1). ref: ops attention.
// pick: a head_dim that is no multiple of 8. Not for long contexts on lavapipe, which ends loops after 65,535
// iterations of an invocation: head_dim * positions must stay below that.
// include: rope.wgsl
const WG: u32 = 4u; // spec: 4u to 64u

struct Params { rows: u32, heads: u32, kv_heads: u32, head_dim: u32, context: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> rope_table: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> kcache: array<u32>;
@group(0) @binding(4) var<storage, read> vcache: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

var<private> query: array<vec2<f32>, 128>;
var<private> sum: array<vec2<f32>, 128>;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * WG + id.x;
  if (i >= p.rows * p.heads) { return; }
  let t = i / p.heads;
  let h = i % p.heads;
  let half = p.head_dim / 2u;
  let pos = state[0] + t;
  let q = (t * (p.heads + 2u * p.kv_heads) + h) * p.head_dim;
  for (var j = 0u; j < half; j++) {
    query[j] = vec2(rotate(q, 2u * j, pos), rotate(q, 2u * j + 1u, pos)) * p.scale;
    sum[j] = vec2(0.0);
  }
  var highest = -3.4e38;
  var total = 0.0;
  var row = h / (p.heads / p.kv_heads) * p.context * half;
  for (var s = 0u; s < min(pos + 1u, p.context); s++) {
    var dots = vec2(0.0);
    for (var j = 0u; j < half; j++) { dots += query[j] * unpack2x16float(kcache[row + j]); }
    let score = dots.x + dots.y;
    if (score > highest) { // rescale only when the maximum moves
      let shrink = exp(highest - score);
      highest = score;
      total *= shrink;
      for (var j = 0u; j < half; j++) { sum[j] *= shrink; }
    }
    let w = exp(score - highest);
    total += w;
    for (var j = 0u; j < half; j++) { sum[j] += w * unpack2x16float(vcache[row + j]); }
    row += half;
  }
  for (var j = 0u; j < half; j++) {
    let at = i * p.head_dim + 2u * j;
    let v = sum[j] / total;
    y[at] = epilogue(v.x, at);
    y[at + 1u] = epilogue(v.y, at + 1u);
  }
}
