// Sampling, 3 of 4 (see sample.wgsl): finds the bins in which top-k and top-p end, and each slice's share.
// parts[0..8): the bins below [0] are kept for certain; top-p ends in bins [1]..[2] (1..0: off), top-k in [3] (BINS:
//   off); [4] f32: tokens above bin [3] that are no candidates; [5], [6] f32: probability above bin [1], above bin [3].
// parts[slice]: the probability of its certain tokens (those that pass min-p), and the number of its candidates, which
// lie in bins [1]..[2] and [3].
// cand: [2, slices, SLICE] u32: the first half has the keys of each slice's candidates, in the order of their tokens.
// grid: (slices, 1, 1). ref: ops sample. pick: always.
// include: sample.wgsl
// include: best.wgsl

struct Params { vocab: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> settings: Settings;
@group(0) @binding(3) var<storage, read> hist: array<u32>;
@group(0) @binding(4) var<storage, read_write> parts: array<u32>;
@group(0) @binding(5) var<storage, read_write> cand: array<u32>;
@group(0) @binding(6) var<uniform> p: Params;

var<workgroup> above: array<vec2<f32>, BINS + 1u>; // (tokens, probability) in the bins before this one
var<workgroup> k_bin: atomic<u32>;
var<workgroup> p_first: atomic<u32>;
var<workgroup> p_last: atomic<u32>;

fn in_bin(b: u32) -> vec2<f32> {
  let mass = f32(hist[2u * BINS + b]) * 65536.0 + f32(hist[BINS + b]);
  return vec2(f32(hist[b]), mass / 1048576.0 * weight(bin_start(b), settings.temperature));
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  if (state[1] != 0u || settings.temperature == 0.0) { return; }
  let by_k = settings.top_k > 0u && settings.top_k < p.vocab;
  let by_p = settings.top_p < 1.0;
  let top = value(largest(lane, grid.x).x);
  if (lane == 0u) {
    atomicStore(&k_bin, BINS);
    atomicStore(&p_first, BINS - 1u);
    atomicStore(&p_last, 0u);
  }
  if (by_k || by_p) {
    const SHARE: u32 = BINS / WG;
    var sum = vec2(0.0);
    for (var b = lane * SHARE; b < (lane + 1u) * SHARE; b++) { sum += in_bin(b); }
    let sums = scan(lane, sum);
    var before = sums.xy;
    for (var b = lane * SHARE; b < (lane + 1u) * SHARE; b++) {
      above[b] = before;
      before += in_bin(b);
      if (by_k && above[b].x < f32(settings.top_k) && before.x >= f32(settings.top_k)) { atomicStore(&k_bin, b); }
    }
    if (lane == WG - 1u) { above[BINS] = sums.zw; }
    workgroupBarrier();
    if (by_p) {
      // what top-k keeps is known up to its last bin, so that top-p's last bin is known up to a few
      let last = atomicLoad(&k_bin);
      let least = settings.top_p * above[last].y;
      let most = settings.top_p * above[min(last + 1u, BINS)].y;
      for (var b = lane * SHARE; b < min((lane + 1u) * SHARE, last + 1u); b++) {
        if (above[b + 1u].x == above[b].x) { continue; }
        if (above[b + 1u].y >= least) { atomicMin(&p_first, b); }
        if (above[b].y < most) { atomicMax(&p_last, b); }
      }
    }
  }
  workgroupBarrier();
  let last = atomicLoad(&k_bin);
  var first_p = 1u;
  var last_p = 0u;
  var certain = last;
  if (by_p) {
    last_p = atomicLoad(&p_last);
    first_p = min(atomicLoad(&p_first), last_p);
    certain = min(first_p, last);
  }
  if (id.x == 0u && lane == 0u) {
    parts[0] = certain;
    parts[1] = first_p;
    parts[2] = last_p;
    parts[3] = last;
    let also = select(0.0, above[min(last_p + 1u, last)].x - above[first_p].x, by_p);
    parts[4] = bitcast<u32>(above[last].x - also);
    parts[5] = bitcast<u32>(above[first_p].y);
    parts[6] = bitcast<u32>(above[last].y);
  }

  const OWN: u32 = SLICE / WG;
  let begin = id.x * SLICE + lane * OWN;
  let end = min(begin + OWN, p.vocab);
  var share = vec2(0.0);
  for (var i = begin; i < end; i++) {
    let d = top - logits[i];
    let b = bin(d);
    if ((b >= first_p && b <= last_p) || b == last) { share.x += 1.0; }
    if (b < certain) {
      let w = weight(d, settings.temperature);
      share.y += select(0.0, w, w >= settings.min_p);
    }
  }
  let sums = scan(lane, share);
  var to = id.x * SLICE + u32(sums.x);
  for (var i = begin; i < end; i++) {
    let b = bin(top - logits[i]);
    if ((b >= first_p && b <= last_p) || b == last) {
      cand[to] = ordered(logits[i]);
      to++;
    }
  }
  if (lane == 0u) {
    parts[HEAD + id.x * EACH + 2u] = bitcast<u32>(sums.w);
    parts[HEAD + id.x * EACH + 3u] = u32(sums.z);
  }
}
