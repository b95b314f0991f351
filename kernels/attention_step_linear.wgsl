enable subgroups;
// attention_step.wgsl with the matvec before it: each head's workgroup computes its query, key and value as rows of W
// times x, RMS-normed. It is for small models, whose dispatches cost more than computing keys and values in each head.
// The items (row, group of 32 columns) are dealt out to the invocations, and all their weights are loaded at once.
// x: [K] f32, g: [K] f32 gain, w: planes of FORMAT, [(heads + 2 kv_heads) * HEAD_DIM, K]; the others as attention_step.
// grid: (1, heads, 1). ref: ops rms_norm, linear, kv_update and attention. pick: as attention_step, with a short
// context and few weights.
// include: rope.wgsl
const HEAD_DIM: u32 = 64u;   // spec: a multiple of 8, at most 256
const K: u32 = 64u;          // spec: columns of W
const WG: u32 = 256u;        // spec: invocations a workgroup
const NORM = true;
const TILE = K / 32u;

struct Params { heads: u32, kv_heads: u32, context: u32, splits: u32, scale: f32, blocks: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> state: array<u32>;
@group(0) @binding(4) var<storage, read> rope_table: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> kcache: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> vcache: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> p: Params;

const ITEMS = 3u * HEAD_DIM * (K / 32u);
const ROUNDS = (ITEMS + WG - 1u) / WG;
var<workgroup> qkv: array<f32, 3u * HEAD_DIM>;
var<workgroup> products: array<f32, ITEMS>;

// include: int8_input.wgsl
// include: int8/q4_1.wgsl // spec: FORMAT
// include: attend_step.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let kv = id.y / (p.heads / p.kv_heads);
  var weights = array<Raw, ROUNDS>();
  var groups = array<u32, ROUNDS>();
  for (var n = 0u; n < ROUNDS; n++) {
    let item = min(lid + n * WG, ITEMS - 1u);
    let row = item / GROUPS;
    let head = select(select(id.y, p.heads + kv, row >= HEAD_DIM), p.heads + p.kv_heads + kv, row >= 2u * HEAD_DIM);
    groups[n] = (head * HEAD_DIM + row % HEAD_DIM) * GROUPS + item % GROUPS;
    weights[n] = raw(groups[n]);
  }
  let squares = stage(0u, 0u, lid);
  let scale = inverse_root(squares, lid, p.eps);
  for (var n = 0u; n < ROUNDS; n++) {
    let item = lid + n * WG;
    if item < ITEMS { products[item] = product(weights[n], groups[n], part(item % GROUPS)); }
  }
  workgroupBarrier();
  for (var row = lid; row < 3u * HEAD_DIM; row += WG) {
    var sum = 0.0;
    for (var n = 0u; n < GROUPS; n++) { sum += products[row * GROUPS + n]; }
    qkv[row] = sum * scale;
  }
  workgroupBarrier();
  attend_step(id.y, 0u, lid, 0u, HEAD_DIM, 2u * HEAD_DIM);
}
