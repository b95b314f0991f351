// sdpa.wgsl for few rows: a workgroup has one row of a head. Its invocations first have a key each, then an element of v
// for a part of the keys.
// Bindings, shapes and formula: sdpa.wgsl.
// grid: (T, heads, N). ref: ops sdpa. pick: up to 8 rows and S <= KEYS, not software adapters.
const HEAD_DIM: u32 = 64u;    // spec: up to 128u
const KEYS: u32 = 2048u;      // spec: up to the workgroup's memory
const CAUSAL: bool = false;   // spec: true | false
const LENGTHS: bool = false;  // spec: true | false
const BIAS: bool = false;     // spec: true | false
const WG: u32 = 256u;
const PARTS: u32 = WG / HEAD_DIM;

struct Params { t: u32, s: u32, heads: u32, scale: f32, q_start: u32, q_row: u32, q_batch: u32, k_start: u32, k_row: u32,
  k_batch: u32, v_start: u32, v_row: u32, v_batch: u32 }
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

var<workgroup> query: array<f32, HEAD_DIM>;
var<workgroup> scores: array<f32, KEYS>;

// include: reduce.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let t = id.x;
  let head = id.y * HEAD_DIM;
  let k0 = p.k_start + id.z * p.k_batch + head;
  let v0 = p.v_start + id.z * p.v_batch + head;
  var end = p.s;
  if LENGTHS { end = min(end, lengths[id.z]); }
  if CAUSAL { end = min(end, t + 1u + p.s - p.t); }
  if lane < HEAD_DIM { query[lane] = q[p.q_start + id.z * p.q_batch + t * p.q_row + head + lane] * p.scale; }
  workgroupBarrier();
  var top = -3.4e38;
  for (var s = lane; s < end; s += WG) {
    var score = 0.0;
    for (var d = 0u; d < HEAD_DIM; d++) { score += query[d] * k[k0 + s * p.k_row + d]; }
    if BIAS { score += bias[(id.y * p.t + t) * p.s + s]; }
    scores[s] = score;
    top = max(top, score);
  }
  top = highest(top, lane);
  var sum = 0.0;
  for (var s = lane; s < end; s += WG) {
    let weight = exp(scores[s] - top);
    scores[s] = weight;
    sum += weight;
  }
  sum = total(sum, lane);
  var out = 0.0;
  let d = lane % HEAD_DIM;
  if lane < PARTS * HEAD_DIM {
    for (var s = lane / HEAD_DIM; s < end; s += PARTS) { out += scores[s] * v[v0 + s * p.v_row + d]; }
  }
  part[lane] = out;
  workgroupBarrier();
  if lane < HEAD_DIM {
    for (var n = 1u; n < PARTS; n++) { out += part[n * HEAD_DIM + lane]; }
    let i = ((id.z * p.t + t) * p.heads + id.y) * HEAD_DIM + lane;
    y[i] = epilogue(select(0.0, out / sum, sum > 0.0), i);
  }
}
