// sdpa.wgsl for few rows: a workgroup computes one row of a head and a slice of the keys. Each of its invocations first
// computes the score of one key, then a vector of the sum over a part of the values.
// Bindings, shapes and formula: sdpa.wgsl. SPLIT: y is the parts of attention_split.wgsl instead, [N * T, heads,
// slices, HEAD_DIM + 2] f32, which attention_merge.wgsl joins.
// grid: (T * slices, heads, N), slices = ceil(S / 128), SPLIT if more than 1. ref: ops sdpa. pick: up to 8 rows,
// HEAD_DIM a multiple of 4 up to 128, not software adapters.
const HEAD_DIM: u32 = 64u;    // spec: a multiple of 4, 4u to 128u
const CAUSAL: bool = false;   // spec: true | false
const LENGTHS: bool = false;  // spec: true | false
const BIAS: bool = false;     // spec: true | false
const SPLIT: bool = false;    // spec: the parts of slices
const WG: u32 = 128u;         // keys of a slice
const FOURS: u32 = HEAD_DIM / 4u;
const PARTS: u32 = WG / FOURS;

struct Params { t: u32, s: u32, heads: u32, scale: f32, q_start: u32, q_row: u32, q_batch: u32, k_start: u32, k_row: u32,
  k_batch: u32, v_start: u32, v_row: u32, v_batch: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> lengths: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

const LOWEST: f32 = -3.4e38;
var<workgroup> weights: array<f32, WG>;
var<workgroup> sums: array<vec4<f32>, WG>;

// include: reduce.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let slices = (p.s + WG - 1u) / WG;
  let t = id.x / slices;
  let slice = id.x % slices;
  let first = slice * WG;
  let head = id.y * FOURS;
  let q0 = p.q_start + id.z * p.q_batch + t * p.q_row + head;
  let k0 = p.k_start + id.z * p.k_batch + head;
  let v0 = p.v_start + id.z * p.v_batch + head;
  var end = min(first + WG, p.s);
  if LENGTHS { end = min(end, lengths[id.z]); }
  if CAUSAL { end = min(end, t + 1u + p.s - p.t); }
  let s = first + lane;
  var score = LOWEST;
  if s < end {
    var dots = 0.0;
    for (var d = 0u; d < FOURS; d++) { dots += dot(q[q0 + d], k[k0 + s * p.k_row + d]); }
    score = dots * p.scale;
    if BIAS { score += bias[(id.y * p.t + t) * p.s + s]; }
  }
  let top = highest(score, lane);
  let weight = select(0.0, exp(score - top), s < end);
  weights[lane] = weight;
  let sum = total(weight, lane);
  var out = vec4<f32>();
  if lane < PARTS * FOURS {
    for (var n = first + lane / FOURS; n < end; n += PARTS) {
      out += weights[n - first] * v[v0 + n * p.v_row + lane % FOURS];
    }
  }
  sums[lane] = out;
  workgroupBarrier();
  if lane < FOURS {
    for (var n = 1u; n < PARTS; n++) { out += sums[n * FOURS + lane]; }
    let row = (id.z * p.t + t) * p.heads + id.y;
    if SPLIT {
      let base = (row * slices + slice) * (HEAD_DIM + 2u);
      for (var n = 0u; n < 4u; n++) { y[base + lane * 4u + n] = out[n]; }
      if lane == 0u {
        y[base + HEAD_DIM] = top;
        y[base + HEAD_DIM + 1u] = sum;
      }
    } else {
      let i = row * HEAD_DIM + lane * 4u;
      let share = select(0.0, 1.0 / sum, sum > 0.0);
      for (var n = 0u; n < 4u; n++) { y[i + n] = epilogue(out[n] * share, i + n); }
    }
  }
}
