// Included. Attention of one new token, whose key and value it also writes to the cache, for the positions of a slice
// and one head:
//   kcache[g, pos, :] = rope(k[g], pos), vcache[g, pos, :] = v[g, :], and
//   y[h, :] = sum over s <= pos of softmax_s(rope(q[h], pos) . kcache[g, s] * scale) vcache[g, s, :],
// pos = state[0], g = h / (heads / kv_heads). Each workgroup has the new key and value in its own memory, so that none
// waits for the cache.
// SPLIT: the positions are cut into `splits` slices of at least AT_LEAST, and y is the parts of attention_split.wgsl
// instead: [heads, splits, HEAD_DIM + 2] f32, which attention_merge.wgsl joins.
// ABREAST invocations share a position, each with every ABREAST-th eight elements of it; the numerators and
// denominators of their online softmax are added at the end: by shuffles among the LANES that are certainly in one
// subgroup, then in workgroup memory. The next position is loaded while one is computed.
// Needs qkv: array<f32> with q, k and v at q_at, k_at and v_at, state, rope_table, kcache, vcache: array<vec4<u32>>
// (eight f16), y, p {heads, kv_heads, context, splits, scale}, HEAD_DIM, LANES and WG; include rope.wgsl first.
const ABREAST: u32 = 4u;     // spec: 1u to 16u, divides HEAD_DIM / 8 and LANES
const SPLIT: bool = false;   // spec: the parts of slices
const AT_LEAST: u32 = 64u;   // spec: positions a slice has at least

const EIGHTS = HEAD_DIM / 8u;
const EACH = EIGHTS / ABREAST; // eights of an invocation
const TEAMS = WG / ABREAST;
const LOWEST: f32 = -3.4e38;

var<workgroup> query: array<f32, HEAD_DIM>;
var<workgroup> new_key: array<u32, HEAD_DIM / 2u>;
var<workgroup> new_value: array<u32, HEAD_DIM / 2u>;
var<workgroup> numerators: array<vec4<f32>, WG / LANES * HEAD_DIM / 4u>;
var<workgroup> tops: array<vec2<f32>, WG / LANES>; // largest score, sum of exp(score - largest)

fn pack(a: f32, b: f32) -> u32 { return pack2x16float(clamp(vec2(a, b), vec2(-65504.0), vec2(65504.0))); }
fn four(a: u32, b: u32) -> vec4<f32> { return vec4(unpack2x16float(a), unpack2x16float(b)); }

fn sum_of_position(v: f32) -> f32 {
  var s = v;
  if ABREAST > 1u { s += subgroupShuffleXor(s, 1u); }
  if ABREAST > 2u { s += subgroupShuffleXor(s, 2u); }
  if ABREAST > 4u { s += subgroupShuffleXor(s, 4u); }
  if ABREAST > 8u { s += subgroupShuffleXor(s, 8u); }
  return s;
}

fn sum_of_teams(v: vec4<f32>) -> vec4<f32> {
  var s = v;
  if ABREAST < 2u && LANES > 1u { s += subgroupShuffleXor(s, 1u); }
  if ABREAST < 4u && LANES > 2u { s += subgroupShuffleXor(s, 2u); }
  if ABREAST < 8u && LANES > 4u { s += subgroupShuffleXor(s, 4u); }
  if ABREAST < 16u && LANES > 8u { s += subgroupShuffleXor(s, 8u); }
  if LANES > 16u { s += subgroupShuffleXor(s, 16u); }
  return s;
}

fn top_of_teams(v: f32) -> f32 {
  var m = v;
  if ABREAST < 2u && LANES > 1u { m = max(m, subgroupShuffleXor(m, 1u)); }
  if ABREAST < 4u && LANES > 2u { m = max(m, subgroupShuffleXor(m, 2u)); }
  if ABREAST < 8u && LANES > 4u { m = max(m, subgroupShuffleXor(m, 4u)); }
  if ABREAST < 16u && LANES > 8u { m = max(m, subgroupShuffleXor(m, 8u)); }
  if LANES > 16u { m = max(m, subgroupShuffleXor(m, 16u)); }
  return m;
}

fn attend_step(h: u32, slice: u32, lid: u32, q_at: u32, k_at: u32, v_at: u32) {
  let pos = state[0];
  let g = h / (p.heads / p.kv_heads);
  let rows = g * p.context;
  let count = min(pos + 1u, p.context);
  let length = select(count, max((count + p.splits - 1u) / p.splits, AT_LEAST), SPLIT);
  let first = slice * length;
  let end = min(first + length, count);
  let lane = lid % ABREAST;

  // the first position is loaded from the cache while the key and the query are rotated
  var at = (rows + min(first + lid / ABREAST, p.context - 1u)) * EIGHTS + lane;
  var k = array<vec4<u32>, EACH>();
  var v = array<vec4<u32>, EACH>();
  for (var n = 0u; n < EACH; n++) {
    k[n] = kcache[at + n * ABREAST];
    v[n] = vcache[at + n * ABREAST];
  }
  for (var i = lid; i < 2u * HEAD_DIM; i += WG) {
    if i < HEAD_DIM {
      query[i] = rotate(q_at, i, pos) * p.scale;
    } else if i < HEAD_DIM + HEAD_DIM / 2u {
      let e = 2u * (i - HEAD_DIM);
      new_key[e / 2u] = pack(rotate(k_at, e, pos), rotate(k_at, e + 1u, pos));
    } else {
      let word = i - HEAD_DIM - HEAD_DIM / 2u;
      let e = v_at + 2u * word;
      new_value[word] = pack(qkv[e], qkv[e + 1u]);
    }
  }
  workgroupBarrier();
  if slice == 0u && h % (p.heads / p.kv_heads) == 0u && lid < EIGHTS && pos < p.context {
    let i = 4u * lid;
    kcache[(rows + pos) * EIGHTS + lid] = vec4(new_key[i], new_key[i + 1u], new_key[i + 2u], new_key[i + 3u]);
    vcache[(rows + pos) * EIGHTS + lid] = vec4(new_value[i], new_value[i + 1u], new_value[i + 2u], new_value[i + 3u]);
  }

  var q = array<vec4<f32>, 2u * EACH>();
  for (var n = 0u; n < 2u * EACH; n++) {
    let e = (n / 2u * ABREAST + lane) * 8u + n % 2u * 4u;
    q[n] = vec4(query[e], query[e + 1u], query[e + 2u], query[e + 3u]);
  }
  var sum = array<vec4<f32>, 2u * EACH>();
  var top = LOWEST;
  var total = 0.0;
  for (var start = first; start < end; start += TEAMS) { // the same number of turns for all, so that shuffles are allowed
    let s = start + lid / ABREAST;
    if s == pos {
      for (var n = 0u; n < EACH; n++) {
        let i = (n * ABREAST + lane) * 4u;
        k[n] = vec4(new_key[i], new_key[i + 1u], new_key[i + 2u], new_key[i + 3u]);
        v[n] = vec4(new_value[i], new_value[i + 1u], new_value[i + 2u], new_value[i + 3u]);
      }
    }
    var dots = 0.0;
    for (var n = 0u; n < EACH; n++) {
      dots += dot(four(k[n].x, k[n].y), q[2u * n]) + dot(four(k[n].z, k[n].w), q[2u * n + 1u]);
    }
    at = (rows + min(s + TEAMS, p.context - 1u)) * EIGHTS + lane;
    let values = v;
    for (var n = 0u; n < EACH; n++) {
      k[n] = kcache[at + n * ABREAST];
      v[n] = vcache[at + n * ABREAST];
    }
    let score = sum_of_position(dots);
    if s < end {
      let now = max(top, score);
      let shrink = exp(top - now);
      let weight = exp(score - now);
      top = now;
      total = total * shrink + weight;
      for (var n = 0u; n < EACH; n++) {
        sum[2u * n] = sum[2u * n] * shrink + weight * four(values[n].x, values[n].y);
        sum[2u * n + 1u] = sum[2u * n + 1u] * shrink + weight * four(values[n].z, values[n].w);
      }
    }
  }

  let highest = top_of_teams(top);
  let shrink = exp(top - highest);
  let denominator_part = sum_of_teams(vec4(total * shrink)).x;
  for (var n = 0u; n < 2u * EACH; n++) {
    let s = sum_of_teams(sum[n] * shrink);
    if lid % LANES < ABREAST { numerators[lid / LANES * (HEAD_DIM / 4u) + (n / 2u * ABREAST + lane) * 2u + n % 2u] = s; }
  }
  if lid % LANES == 0u { tops[lid / LANES] = vec2(highest, denominator_part); }
  workgroupBarrier();
  for (var e = lid; e < HEAD_DIM; e += WG) {
    var best = LOWEST;
    for (var n = 0u; n < WG / LANES; n++) { best = max(best, tops[n].x); }
    var numerator = 0.0;
    var denominator = 0.0;
    for (var n = 0u; n < WG / LANES; n++) {
      let w = exp(tops[n].x - best);
      denominator += w * tops[n].y;
      numerator += w * numerators[n * (HEAD_DIM / 4u) + e / 4u][e % 4u];
    }
    if SPLIT {
      let base = (h * p.splits + slice) * (HEAD_DIM + 2u);
      y[base + e] = numerator;
      if e == 0u {
        y[base + HEAD_DIM] = best;
        y[base + HEAD_DIM + 1u] = denominator;
      }
    } else {
      y[h * HEAD_DIM + e] = numerator / denominator;
    }
  }
}
