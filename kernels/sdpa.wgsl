// y[n, t, h, :] = sum over s of softmax_s(q[n, t, h] . k[n, s, h] * scale + bias[h, t, s]) v[n, s, h, :], over the keys
// s < lengths[n], and s <= t + S - T where CAUSAL (arXiv:1706.03762, online softmax: arXiv:2205.14135).
// q: N batches of T rows, q_row vectors of 4 from one to the next and q_batch from batch to batch, from vector q_start
// on, a row's head h at h * HEAD_DIM / 4; k, v: likewise, S rows; lengths: [N] u32; bias: [heads, T, S];
// y: [N, T, heads * HEAD_DIM] f32. Without BIAS or LENGTHS their buffers are not read. A row that sees no key is 0.
// A workgroup computes 32 rows of a head in steps of 32 keys: an invocation computes 2 x 4 scores, then every eighth
// vector of y for 2 rows. Keys and values use the same memory in turn.
// grid: (ceil(T / 32), heads, N). ref: ops sdpa. pick: HEAD_DIM a multiple of 4 up to 128, not software adapters.
const HEAD_DIM: u32 = 64u;    // spec: a multiple of 4, 4u to 128u
const CAUSAL: bool = false;   // spec: true | false
const LENGTHS: bool = false;  // spec: true | false
const BIAS: bool = false;     // spec: true | false

struct Params { t: u32, s: u32, heads: u32, scale: f32, q_start: u32, q_row: u32, q_batch: u32, k_start: u32, k_row: u32,
  k_batch: u32, v_start: u32, v_row: u32, v_batch: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> lengths: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

const WG: u32 = 128u;
const FOURS: u32 = HEAD_DIM / 4u;
const ROW: u32 = FOURS + 1u;              // vectors from row to row, against bank conflicts
const EACH: u32 = (FOURS + 7u) / 8u;      // vectors of a row of y an invocation has
const LOWEST: f32 = -3.4e38;
var<workgroup> queries: array<vec4<f32>, 32u * ROW>;
var<workgroup> keys: array<vec4<f32>, 32u * ROW>; // then the values
var<workgroup> weights: array<f32, 1056>;         // [row][key], 33 a row
var<workgroup> parts: array<f32, 288>;            // [row][which eighth of the keys], 9 a row

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let first = id.x * 32u;
  let q0 = p.q_start + id.z * p.q_batch + id.y * FOURS;
  let k0 = p.k_start + id.z * p.k_batch + id.y * FOURS;
  let v0 = p.v_start + id.z * p.v_batch + id.y * FOURS;
  let r = lid / 8u; // and r + 16
  let c = lid % 8u;
  var end = p.s;
  if LENGTHS { end = min(end, lengths[id.z]); }
  if CAUSAL { end = min(end, first + 32u + p.s - p.t); }
  for (var e = lid; e < 32u * FOURS; e += WG) {
    queries[e / FOURS * ROW + e % FOURS] = q[q0 + min(first + e / FOURS, p.t - 1u) * p.q_row + e % FOURS];
  }
  var top = vec2(LOWEST);
  var total = vec2<f32>();
  var low = array<vec4<f32>, EACH>();  // of row r
  var high = array<vec4<f32>, EACH>(); // of row r + 16
  for (var start = 0u; start < end; start += 32u) {
    workgroupBarrier();
    for (var e = lid; e < 32u * FOURS; e += WG) {
      keys[e / FOURS * ROW + e % FOURS] = k[k0 + min(start + e / FOURS, end - 1u) * p.k_row + e % FOURS];
    }
    workgroupBarrier();
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    for (var d = 0u; d < FOURS; d++) {
      let a = queries[r * ROW + d];
      let b = queries[(r + 16u) * ROW + d];
      let key = array(keys[c * ROW + d], keys[(c + 8u) * ROW + d], keys[(c + 16u) * ROW + d], keys[(c + 24u) * ROW + d]);
      s0 += vec4(dot(a, key[0]), dot(a, key[1]), dot(a, key[2]), dot(a, key[3]));
      s1 += vec4(dot(b, key[0]), dot(b, key[1]), dot(b, key[2]), dot(b, key[3]));
    }
    s0 = seen(s0 * p.scale, id.y, first + r, start + c, end);
    s1 = seen(s1 * p.scale, id.y, first + r + 16u, start + c, end);
    parts[r * 9u + c] = max(max(s0.x, s0.y), max(s0.z, s0.w));
    parts[(r + 16u) * 9u + c] = max(max(s1.x, s1.y), max(s1.z, s1.w));
    workgroupBarrier();
    for (var e = lid; e < 32u * FOURS; e += WG) {
      keys[e / FOURS * ROW + e % FOURS] = v[v0 + min(start + e / FOURS, end - 1u) * p.v_row + e % FOURS];
    }
    let before = top;
    for (var n = 0u; n < 8u; n++) { top = max(top, vec2(parts[r * 9u + n], parts[(r + 16u) * 9u + n])); }
    s0 = select(exp(s0 - top.x), vec4<f32>(), s0 == vec4(LOWEST));
    s1 = select(exp(s1 - top.y), vec4<f32>(), s1 == vec4(LOWEST));
    for (var n = 0u; n < 4u; n++) {
      weights[r * 33u + c + n * 8u] = s0[n];
      weights[(r + 16u) * 33u + c + n * 8u] = s1[n];
    }
    workgroupBarrier();
    let shrink = exp(before - top);
    total *= shrink;
    for (var m = 0u; m < EACH; m++) {
      low[m] *= shrink.x;
      high[m] *= shrink.y;
    }
    for (var n = 0u; n < 32u; n++) {
      let weight = vec2(weights[r * 33u + n], weights[(r + 16u) * 33u + n]);
      total += weight;
      for (var m = 0u; m < EACH; m++) {
        let value = keys[n * ROW + min(c + m * 8u, FOURS - 1u)];
        low[m] += weight.x * value;
        high[m] += weight.y * value;
      }
    }
  }
  let share = select(vec2<f32>(), 1.0 / total, total > vec2<f32>());
  for (var m = 0u; m < EACH; m++) {
    let column = c + m * 8u;
    if column < FOURS {
      store(low[m] * share.x, id, first + r, column);
      store(high[m] * share.y, id, first + r + 16u, column);
    }
  }
}

// The scores of row t and keys s, s + 8, s + 16 and s + 24, with their bias; LOWEST for keys that it does not see.
fn seen(score: vec4<f32>, head: u32, t: u32, s: u32, end: u32) -> vec4<f32> {
  let key = s + vec4(0u, 8u, 16u, 24u);
  var biased = score;
  if BIAS {
    let at = (head * p.t + min(t, p.t - 1u)) * p.s + min(key, vec4(p.s - 1u));
    biased += vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
  }
  let last = select(p.s, t + p.s - p.t, CAUSAL);
  return select(vec4(LOWEST), biased, (key < vec4(end)) & (key <= vec4(last)));
}

fn store(value: vec4<f32>, id: vec3<u32>, t: u32, column: u32) {
  if t < p.t {
    let i = ((id.z * p.t + t) * p.heads + id.y) * HEAD_DIM + column * 4u;
    for (var n = 0u; n < 4u; n++) { y[i + n] = epilogue(value[n], i + n); }
  }
}
