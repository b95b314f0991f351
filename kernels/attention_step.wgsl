enable subgroups;
// Attention of one new token, whose key and value it also writes to the cache: attend_step.wgsl, one workgroup a
// (slice, h).
// qkv: [(heads + 2 kv_heads) * HEAD_DIM] f32; rope_table: rope.wgsl; kcache, vcache: [kv_heads, context, HEAD_DIM / 8]
// of eight f16; y: [heads * HEAD_DIM] f32, or parts.
// grid: (splits or 1, heads, 1). ref: ops kv_update and attention. pick: one row, subgroups, head_dim % 8 == 0.
// include: rope.wgsl
const HEAD_DIM: u32 = 64u;   // spec: a multiple of 8, at most 256
const LANES: u32 = 32u;      // spec: 4u to 32u, invocations that are certainly in one subgroup
const WG: u32 = 256u;        // spec: invocations a workgroup

struct Params { heads: u32, kv_heads: u32, context: u32, splits: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> rope_table: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> kcache: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> vcache: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

// include: attend_step.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let g = id.y / (p.heads / p.kv_heads);
  attend_step(id.y, id.x, lid, id.y * HEAD_DIM, (p.heads + g) * HEAD_DIM, (p.heads + p.kv_heads + g) * HEAD_DIM);
}
