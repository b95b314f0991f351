// y[t, h, :] = sum over s <= pos + t of softmax_s(rope(q[t, h], pos + t) . kcache[g, s] * scale) vcache[g, s, :],
// pos = state[0], g = h / (heads / kv_heads): causal attention with grouped heads, one workgroup a (t, h).
// qkv: [rows, (heads + 2 kv_heads) * head_dim] f32, of which q is read; rope_table: rope.wgsl; kcache, vcache:
// [kv_heads, context, head_dim / 2] u32 = f16 pairs, positions 0 .. pos + rows - 1 already written; y: [rows, heads *
// head_dim] f32. head_dim: a multiple of 8, at most 256.
// grid: (heads, rows, 1). ref: ops attention. pick: many rows or a short context, else attention_split; a
// head_dim that is no multiple of 8: attention_serial. Software adapters use WG = 8u (head_dim 64) to 32u.
// include: rope.wgsl
// include: attend.wgsl

struct Params { rows: u32, heads: u32, kv_heads: u32, head_dim: u32, context: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> rope_table: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> kcache: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> vcache: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let pos = state[0] + id.y;
  let q = (id.y * (p.heads + 2u * p.kv_heads) + id.x) * p.head_dim;
  let g = id.x / (p.heads / p.kv_heads);
  let found = attend(q, g, pos, 0u, min(pos + 1u, p.context), lane);
  let base = (id.y * p.heads + id.x) * p.head_dim;
  for (var e = lane; e < p.head_dim; e += WG) { y[base + e] = epilogue(output(e) / found.total, base + e); }
}
