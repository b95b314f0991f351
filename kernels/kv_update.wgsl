// kcache[g, pos + t, :] = rope(k[t, g, :], pos + t), vcache[g, pos + t, :] = v[t, g, :] for t < rows, pos = state[0],
// in place.
// qkv: [rows, (heads + 2 kv_heads) * head_dim] f32: q, then k, then v of each row; rope_table: rope.wgsl;
// kcache, vcache: [kv_heads, context, head_dim / 2] u32, each two f16 (element 2j in the low half). Positions >=
// context are not stored. Values beyond f16's range are stored as its largest.
// grid: ceil(rows * kv_heads * head_dim / 2 / WG) workgroups, folded in y: (min(n, 65535), ceil(n / 65535), 1). One
// invocation a word.
// ref: ops kv_update. pick: always.
// include: rope.wgsl
const WG: u32 = 64u; // spec: 4u to 256u

struct Params { rows: u32, heads: u32, kv_heads: u32, head_dim: u32, context: u32 }
@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> rope_table: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> kcache: array<u32>;
@group(0) @binding(4) var<storage, read_write> vcache: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;

fn pack(a: f32, b: f32) -> u32 { return pack2x16float(clamp(vec2(a, b), vec2(-65504.0), vec2(65504.0))); }

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let half = p.head_dim / 2u;
  let i = id.y * grid.x * WG + id.x;
  let word = i % half;
  let g = i / half % p.kv_heads;
  let t = i / half / p.kv_heads;
  let pos = state[0] + t;
  if (t >= p.rows || pos >= p.context) { return; }
  let k = (t * (p.heads + 2u * p.kv_heads) + p.heads + g) * p.head_dim;
  let v = k + p.kv_heads * p.head_dim + 2u * word;
  let to = (g * p.context + pos) * half + word;
  kcache[to] = pack(rotate(k, 2u * word, pos), rotate(k, 2u * word + 1u, pos));
  vcache[to] = pack(qkv[v], qkv[v + 1u]);
}
