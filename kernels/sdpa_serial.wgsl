// sdpa.wgsl without barriers: an invocation computes 4 rows of a head, 8 keys at a time, so that each load is used for
// several products. Keys times HEAD_DIM must stay below 260,000: lavapipe ends loops after 65,535 iterations.
// Bindings, shapes and formula: sdpa.wgsl.
// grid: ceil(N * ceil(T / 4) * heads / 16), folded in y. ref: ops sdpa. pick: software adapters, a HEAD_DIM that
// sdpa.wgsl does not support, and operands that are not aligned to vectors of 4.
const HEAD_DIM: u32 = 64u;    // spec: any
const CAUSAL: bool = false;   // spec: true | false
const LENGTHS: bool = false;  // spec: true | false
const BIAS: bool = false;     // spec: true | false
const NONE: f32 = -3.4e38;

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

// The scores of 4 rows for a key, NONE for a row that does not see it; `ends`: where the keys of each row end.
fn scored(score: vec4<f32>, s: u32, rows: vec4<u32>, h: u32, ends: vec4<u32>) -> vec4<f32> {
  var sum = score;
  if BIAS {
    let at = (h * p.t + rows) * p.s + min(s, p.s - 1u);
    sum += vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
  }
  return select(sum, vec4(NONE), vec4(s) >= ends);
}

fn weighed(score: vec4<f32>, highest: vec4<f32>) -> vec4<f32> {
  return select(exp(score - highest), vec4(0.0), score == vec4(NONE));
}

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * 16u + id.x;
  let blocks = (p.t + 3u) / 4u;
  if i >= p.n * blocks * p.heads { return; }
  let n = i / (blocks * p.heads);
  let t = i / p.heads % blocks * 4u + vec4(0u, 1u, 2u, 3u);
  let h = i % p.heads;
  let rows = min(t, vec4(p.t - 1u));
  let q0 = p.q_start + n * p.q_batch + rows * p.q_row + h * HEAD_DIM;
  let k0 = p.k_start + n * p.k_batch + h * HEAD_DIM;
  let v0 = p.v_start + n * p.v_batch + h * HEAD_DIM;
  var ends = vec4(p.s);
  if LENGTHS { ends = min(ends, vec4(lengths[n])); }
  if CAUSAL { ends = min(ends, rows + 1u + p.s - p.t); }
  let end = max(max(ends.x, ends.y), max(ends.z, ends.w));
  var query = array<vec4<f32>, HEAD_DIM>();
  for (var d = 0u; d < HEAD_DIM; d++) {
    query[d] = vec4(q[q0.x + d], q[q0.y + d], q[q0.z + d], q[q0.w + d]) * p.scale;
  }
  var out = array<vec4<f32>, HEAD_DIM>();
  var highest = vec4(NONE);
  var total = vec4(0.0);
  for (var s = 0u; s < end; s += 8u) {
    let near = min(s + vec4(0u, 1u, 2u, 3u), vec4(end - 1u));
    let far = min(s + vec4(4u, 5u, 6u, 7u), vec4(end - 1u));
    var a = k0 + near * p.k_row;
    var b = k0 + far * p.k_row;
    var scores = array<vec4<f32>, 8>();
    for (var d = 0u; d < HEAD_DIM; d++) {
      let x = query[d];
      scores[0] += x * k[a.x + d];
      scores[1] += x * k[a.y + d];
      scores[2] += x * k[a.z + d];
      scores[3] += x * k[a.w + d];
      scores[4] += x * k[b.x + d];
      scores[5] += x * k[b.y + d];
      scores[6] += x * k[b.z + d];
      scores[7] += x * k[b.w + d];
    }
    let s0 = scored(scores[0], s, rows, h, ends);
    let s1 = scored(scores[1], s + 1u, rows, h, ends);
    let s2 = scored(scores[2], s + 2u, rows, h, ends);
    let s3 = scored(scores[3], s + 3u, rows, h, ends);
    let s4 = scored(scores[4], s + 4u, rows, h, ends);
    let s5 = scored(scores[5], s + 5u, rows, h, ends);
    let s6 = scored(scores[6], s + 6u, rows, h, ends);
    let s7 = scored(scores[7], s + 7u, rows, h, ends);
    let top = max(highest, max(max(max(s0, s1), max(s2, s3)), max(max(s4, s5), max(s6, s7))));
    let factor = exp(highest - top);
    let w0 = weighed(s0, top);
    let w1 = weighed(s1, top);
    let w2 = weighed(s2, top);
    let w3 = weighed(s3, top);
    let w4 = weighed(s4, top);
    let w5 = weighed(s5, top);
    let w6 = weighed(s6, top);
    let w7 = weighed(s7, top);
    total = total * factor + ((w0 + w1) + (w2 + w3)) + ((w4 + w5) + (w6 + w7));
    highest = top;
    a = v0 + near * p.v_row;
    b = v0 + far * p.v_row;
    for (var d = 0u; d < HEAD_DIM; d++) {
      out[d] = out[d] * factor + w0 * v[a.x + d] + w1 * v[a.y + d] + w2 * v[a.z + d] + w3 * v[a.w + d]
        + w4 * v[b.x + d] + w5 * v[b.y + d] + w6 * v[b.z + d] + w7 * v[b.w + d];
    }
  }
  let one = select(vec4(0.0), 1.0 / total, total > vec4(0.0));
  let y0 = ((n * p.t + t) * p.heads + h) * HEAD_DIM;
  for (var d = 0u; d < HEAD_DIM; d++) {
    let o = out[d] * one;
    if t.x < p.t { y[y0.x + d] = epilogue(o.x, y0.x + d); }
    if t.y < p.t { y[y0.y + d] = epilogue(o.y, y0.y + d); }
    if t.z < p.t { y[y0.z + d] = epilogue(o.z, y0.z + d); }
    if t.w < p.t { y[y0.w + d] = epilogue(o.w, y0.w + d); }
  }
}
