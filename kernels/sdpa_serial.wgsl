// sdpa.wgsl without barriers: an invocation has a row of a head and goes through its keys one after the other.
// Bindings, shapes and formula: sdpa.wgsl.
// grid: ceil(N * T * heads / 16), folded in y. ref: ops sdpa. pick: software adapters; any HEAD_DIM beyond sdpa's.
const HEAD_DIM: u32 = 64u;    // spec: any
const CAUSAL: bool = false;   // spec: true | false
const LENGTHS: bool = false;  // spec: true | false
const BIAS: bool = false;     // spec: true | false

struct Params { n: u32, t: u32, s: u32, heads: u32, scale: f32, q_start: u32, q_row: u32, q_batch: u32, k_start: u32,
  k_row: u32, k_batch: u32, v_start: u32, v_row: u32, v_batch: u32 }
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * 16u + id.x;
  if i >= p.n * p.t * p.heads { return; }
  let n = i / (p.t * p.heads);
  let t = i / p.heads % p.t;
  let h = i % p.heads;
  let q0 = p.q_start + n * p.q_batch + t * p.q_row + h * HEAD_DIM;
  let k0 = p.k_start + n * p.k_batch + h * HEAD_DIM;
  let v0 = p.v_start + n * p.v_batch + h * HEAD_DIM;
  var end = p.s;
  if LENGTHS { end = min(end, lengths[n]); }
  if CAUSAL { end = min(end, t + 1u + p.s - p.t); }
  var query = array<f32, HEAD_DIM>();
  for (var d = 0u; d < HEAD_DIM; d++) { query[d] = q[q0 + d] * p.scale; }
  var out = array<f32, HEAD_DIM>();
  var highest = -3.4e38;
  var total = 0.0;
  for (var s = 0u; s < end; s++) {
    var score = 0.0;
    for (var d = 0u; d < HEAD_DIM; d++) { score += query[d] * k[k0 + s * p.k_row + d]; }
    if BIAS { score += bias[(h * p.t + t) * p.s + s]; }
    if score > highest {
      let factor = exp(highest - score);
      for (var d = 0u; d < HEAD_DIM; d++) { out[d] *= factor; }
      total *= factor;
      highest = score;
    }
    let weight = exp(score - highest);
    total += weight;
    for (var d = 0u; d < HEAD_DIM; d++) { out[d] += weight * v[v0 + s * p.v_row + d]; }
  }
  let one = select(0.0, 1.0 / total, total > 0.0);
  for (var d = 0u; d < HEAD_DIM; d++) {
    let at = i * HEAD_DIM + d;
    y[at] = epilogue(out[d] * one, at);
  }
}
