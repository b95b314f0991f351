// Included. Attention of one query over positions from..to-1 by one workgroup: online softmax in f32, tiles of WG * 4
// positions. After attend(), `total` of each lane sums to the softmax's denominator relative to the returned maximum,
// and `output(e)` is element e of the weighted sum of v, not yet divided. head_dim % 8 == 0, <= 256.
// Needs qkv, rope_table, kcache, vcache: array<vec4<u32>> (eight f16), p {head_dim, context, scale}; include rope.wgsl
// first.
const WG: u32 = 64u; // spec: 8u to 128u, at least head_dim / 8; software adapters: the least such power of two
const LOWEST: f32 = -3.4e38;

var<workgroup> query: array<vec4<f32>, 64>;
var<workgroup> best: array<f32, WG>;
var<workgroup> weight: array<f32, 8u * WG>; // two tiles in turn, so that two barriers a tile are enough
var<workgroup> sums: array<vec4<f32>, 2u * WG>;

fn eight(words: vec4<u32>) -> array<vec4<f32>, 2> {
  return array<vec4<f32>, 2>(
    vec4(unpack2x16float(words.x), unpack2x16float(words.y)), vec4(unpack2x16float(words.z), unpack2x16float(words.w))
  );
}

struct Attended { highest: f32, total: f32 }

fn attend(q: u32, g: u32, pos: u32, first: u32, end: u32, lane: u32) -> Attended {
  let chunks = p.head_dim / 8u;
  let rows = g * p.context;
  for (var e = 4u * lane; e < p.head_dim; e += 4u * WG) {
    let turned = vec4(
      rotate(q, e, pos), rotate(q, e + 1u, pos),
      rotate(q, e + 2u, pos), rotate(q, e + 3u, pos),
    );
    query[e / 4u] = turned * p.scale;
  }
  workgroupBarrier();

  // For v the lanes are `groups` rows of `chunks` lanes: each lane sums eight elements over every groups-th position.
  let groups = WG / chunks;
  let group = lane / chunks;
  let chunk = lane % chunks;
  var low = vec4(0.0);
  var high = vec4(0.0);
  var highest = LOWEST;
  var total = 0.0;
  var tile = 0u;
  for (var start = first; start < end; start += 4u * WG) {
    // scores: a lane takes positions start + lane + n WG
    let count = min(end - start, 4u * WG);
    var top = LOWEST;
    for (var s = lane; s < count; s += WG) {
      let row = (rows + start + s) * chunks;
      var dots = vec4(0.0);
      for (var c = 0u; c < chunks; c++) {
        let k = eight(kcache[row + c]);
        dots += k[0] * query[2u * c] + k[1] * query[2u * c + 1u];
      }
      let score = dots.x + dots.y + dots.z + dots.w;
      weight[tile + s] = score;
      top = max(top, score);
    }
    best[lane] = top;
    workgroupBarrier();
    for (var n = 0u; n < min(WG, count); n++) { top = max(top, best[n]); }
    let now = max(highest, top);
    let shrink = exp(highest - now);
    highest = now;
    total *= shrink;
    for (var s = lane; s < count; s += WG) {
      let w = exp(weight[tile + s] - now);
      weight[tile + s] = w;
      total += w;
    }
    workgroupBarrier();
    low *= shrink;
    high *= shrink;
    if (group < groups) {
      for (var s = group; s < count; s += groups) {
        let v = eight(vcache[(rows + start + s) * chunks + chunk]);
        low += weight[tile + s] * v[0];
        high += weight[tile + s] * v[1];
      }
    }
    tile = 4u * WG - tile;
  }
  sums[2u * lane] = low;
  sums[2u * lane + 1u] = high;
  best[lane] = total;
  workgroupBarrier();
  var all = 0.0;
  for (var n = 0u; n < WG; n++) { all += best[n]; }
  return Attended(highest, all);
}

fn output(e: u32) -> f32 {
  let chunks = p.head_dim / 8u;
  var sum = 0.0;
  for (var group = 0u; group < WG / chunks; group++) {
    sum += sums[2u * (group * chunks + e / 8u) + e / 4u % 2u][e % 4u];
  }
  return sum;
}
