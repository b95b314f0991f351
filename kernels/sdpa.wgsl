// y[n, t, h, :] = sum over s of softmax_s(q[n, t, h] . k[n, s, h] * scale + bias[h, t, s]) v[n, s, h, :], over the keys
// s < lengths[n], and s <= t + S - T where CAUSAL (arXiv:1706.03762, online softmax: arXiv:2205.14135).
// q: N batches of T rows, q_row elements from one to the next and q_batch from batch to batch, from element q_start on, a
// row's head h at h * HEAD_DIM; k, v: likewise, S rows; lengths: [N] u32; bias: [heads, T, S]; y: [N, T, heads * HEAD_DIM]
// f32. Without BIAS or LENGTHS their buffers are not read. Rows whose keys all do not count are 0.
// A workgroup has 32 rows of a head and goes through the keys in steps of 32: an invocation computes 4 x 4 scores, then
// of 4 rows every eighth element of y.
// grid: (ceil(T / 32), heads, N). ref: ops sdpa. pick: HEAD_DIM a multiple of 8 up to 128, not software adapters.
const HEAD_DIM: u32 = 64u;    // spec: a multiple of 8, 8u to 128u
const CAUSAL: bool = false;   // spec: true | false
const LENGTHS: bool = false;  // spec: true | false
const BIAS: bool = false;     // spec: true | false

struct Params { t: u32, s: u32, heads: u32, scale: f32, q_start: u32, q_row: u32, q_batch: u32, k_start: u32, k_row: u32,
  k_batch: u32, v_start: u32, v_row: u32, v_batch: u32 }
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

const COLUMNS: u32 = HEAD_DIM / 8u; // elements of a row of y an invocation has
const LOWEST: f32 = -3.4e38;
var<workgroup> qt: array<f32, 264>;     // [element][row], 33 a row, against bank conflicts
var<workgroup> kt: array<f32, 264>;
var<workgroup> scores: array<f32, 1056>; // [row][key]; then their exponentials
var<workgroup> vt: array<f32, 32u * HEAD_DIM>;
var<workgroup> factor: array<f32, 32>;
var<workgroup> total: array<f32, 32>;
var<workgroup> highest: array<f32, 32>;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let first = id.x * 32u;
  let head = id.y * HEAD_DIM;
  let q0 = p.q_start + id.z * p.q_batch + head;
  let k0 = p.k_start + id.z * p.k_batch + head;
  let v0 = p.v_start + id.z * p.v_batch + head;
  let r = lid / 8u;
  let c = lid % 8u;
  var end = p.s;
  if LENGTHS { end = min(end, lengths[id.z]); }
  if CAUSAL { end = min(end, first + 32u + p.s - p.t); }
  if lid < 32u {
    total[lid] = 0.0;
    highest[lid] = LOWEST;
  }
  var out = array<vec4<f32>, COLUMNS>(); // of the four rows
  for (var start = 0u; start < end; start += 32u) {
    var s = array<vec4<f32>, 4>();
    for (var d = 0u; d < HEAD_DIM; d += 8u) {
      workgroupBarrier();
      for (var e = lid; e < 256u; e += 64u) {
        let row = e / 8u;
        let at = d + e % 8u;
        qt[e % 8u * 33u + row] = q[q0 + min(first + row, p.t - 1u) * p.q_row + at];
        kt[e % 8u * 33u + row] = k[k0 + min(start + row, end - 1u) * p.k_row + at];
      }
      workgroupBarrier();
      for (var e = 0u; e < 8u; e++) {
        let right = vec4<f32>(kt[e * 33u + c], kt[e * 33u + c + 8u], kt[e * 33u + c + 16u], kt[e * 33u + c + 24u]);
        s[0] += qt[e * 33u + r] * right;
        s[1] += qt[e * 33u + r + 8u] * right;
        s[2] += qt[e * 33u + r + 16u] * right;
        s[3] += qt[e * 33u + r + 24u] * right;
      }
    }
    for (var a = 0u; a < 4u; a++) {
      let row = r + a * 8u;
      for (var b = 0u; b < 4u; b++) {
        let column = c + b * 8u;
        let key = start + column;
        var score = s[a][b] * p.scale;
        if BIAS { score += bias[(id.y * p.t + min(first + row, p.t - 1u)) * p.s + min(key, p.s - 1u)]; }
        let seen = key < end && (!CAUSAL || key <= first + row + p.s - p.t);
        scores[row * 33u + column] = select(LOWEST, score, seen);
      }
    }
    for (var e = lid; e < 32u * HEAD_DIM; e += 64u) {
      vt[e] = v[v0 + min(start + e / HEAD_DIM, end - 1u) * p.v_row + e % HEAD_DIM];
    }
    workgroupBarrier();
    if lid < 32u {
      let before = highest[lid];
      var top = before;
      for (var n = 0u; n < 32u; n++) { top = max(top, scores[lid * 33u + n]); }
      var sum = 0.0;
      for (var n = 0u; n < 32u; n++) {
        let score = scores[lid * 33u + n];
        let weight = select(exp(score - top), 0.0, score == LOWEST);
        scores[lid * 33u + n] = weight;
        sum += weight;
      }
      factor[lid] = exp(before - top);
      total[lid] = total[lid] * factor[lid] + sum;
      highest[lid] = top;
    }
    workgroupBarrier();
    let shrink = vec4<f32>(factor[r], factor[r + 8u], factor[r + 16u], factor[r + 24u]);
    for (var m = 0u; m < COLUMNS; m++) { out[m] *= shrink; }
    for (var n = 0u; n < 32u; n++) {
      let at = r * 33u + n;
      let weight = vec4<f32>(scores[at], scores[at + 264u], scores[at + 528u], scores[at + 792u]);
      for (var m = 0u; m < COLUMNS; m++) { out[m] += weight * vt[n * HEAD_DIM + c + m * 8u]; }
    }
  }
  workgroupBarrier();
  for (var a = 0u; a < 4u; a++) {
    let row = r + a * 8u;
    let t = first + row;
    if t < p.t {
      let one = select(0.0, 1.0 / total[row], total[row] > 0.0);
      for (var m = 0u; m < COLUMNS; m++) {
        let i = ((id.z * p.t + t) * p.heads + id.y) * HEAD_DIM + c + m * 8u;
        y[i] = epilogue(out[m][a] * one, i);
      }
    }
  }
}
