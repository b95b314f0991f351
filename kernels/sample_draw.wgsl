// Sampling, 4 of 4 (see sample.wgsl): chooses the token and advances the state, in one workgroup:
//   tokens[pos + 1] = token; penalties[token] = settings.repetition_penalty; state[0] = pos + 1; state[2] += 1;
//   state[1] (done) = 1 if the token is a stop token or the new pos has reached settings.end.
// `end` is the pos at which a generation is over: (prompt tokens - 1) + tokens to generate, at most the context's
// length. Nothing is written if done is set already. The draw: u = pcg(pos xor pcg(seed)) / 2^32 (its upper 24 bits);
// the token is the first, in the order of ids, whose cumulative probability exceeds u, so that on one adapter a seed
// repeats a text exactly.
// logits: [vocab] f32; parts, cand: sample_select.wgsl; penalties: [vocab] f32; tokens: [context + 1] u32; state:
// 8 u32.
// grid: (1, 1, 1). ref: ops sample. pick: always.
// include: sample.wgsl
// include: best.wgsl

struct Params { vocab: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> settings: Settings;
@group(0) @binding(2) var<storage, read> parts: array<u32>;
@group(0) @binding(3) var<storage, read_write> cand: array<u32>;
@group(0) @binding(4) var<storage, read_write> penalties: array<f32>;
@group(0) @binding(5) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(6) var<storage, read_write> state: array<u32>;
@group(0) @binding(7) var<uniform> p: Params;

const NEAR: u32 = BINS; // candidates that workgroup memory holds; more are read from the second half of cand

var<workgroup> near: array<u32, NEAR>;
var<workgroup> low_sums: array<atomic<u32>, 256>;
var<workgroup> high_sums: array<atomic<u32>, 256>;
var<workgroup> chosen: atomic<u32>;
var<workgroup> start: vec3<u32>; // pos, done, tokens generated
var<workgroup> item: u32; // the slice, then the token drawn
var<workgroup> goal: f32; // the part of u that is left within it

fn pcg(v: u32) -> u32 {
  let s = v * 747796405u + 2891336453u;
  let word = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
  return (word >> 22u) ^ word;
}

fn candidate(i: u32, count: u32, slices: u32) -> u32 {
  if (count <= NEAR) { return near[i]; }
  return cand[slices * SLICE + i];
}

fn digit_sum(digit: u32) -> f32 {
  return f32(atomicLoad(&high_sums[digit])) * 65536.0 + f32(atomicLoad(&low_sums[digit]));
}

// The lowest t for which base + (the number, or the weight, of candidates with a key > t, of those with a key >= least)
// < limit: eight bits of t a round, from a histogram of those bits (in fixed point, so that the order of additions does
// not matter).
fn threshold(
  lane: u32, count: u32, slices: u32, top: f32, weighed: bool, least: u32, start_base: f32, limit: f32,
) -> u32 {
  const SHARE: u32 = 256u / WG;
  let start = bin_start(parts[1]);
  let unit = select(1.0, weight(start, settings.temperature) / 1048576.0, weighed);
  var base = start_base;
  var t = 0u;
  for (var shift = 24u; shift < 32u; shift -= 8u) { // 24, 16, 8, 0: then it wraps
    for (var digit = lane; digit < 256u; digit += WG) {
      atomicStore(&low_sums[digit], 0u);
      atomicStore(&high_sums[digit], 0u);
    }
    if (lane == 0u) { atomicStore(&chosen, 255u); }
    workgroupBarrier();
    for (var i = lane; i < count; i += WG) {
      let key = candidate(i, count, slices);
      if (key < least || (((key ^ t) >> shift) >> 8u) != 0u) { continue; }
      var v = 1u;
      if (weighed) { v = u32(weight(top - value(key) - start, settings.temperature) * 1048576.0 + 0.5); }
      let digit = (key >> shift) & 255u;
      atomicAdd(&low_sums[digit], v & 0xFFFFu);
      atomicAdd(&high_sums[digit], v >> 16u);
    }
    workgroupBarrier();
    let first = 255u - lane * SHARE; // each lane sums its share of the digits, the first lane the highest ones
    var own = 0.0;
    for (var n = 0u; n < SHARE; n++) { own += digit_sum(first - n); }
    var above = scan(lane, vec2(own, 0.0)).x;
    for (var n = 0u; n < SHARE; n++) {
      let sum = digit_sum(first - n);
      if (base + above * unit < limit) { atomicMin(&chosen, first - n); }
      atomicStore(&low_sums[first - n], bitcast<u32>(above));
      above += sum;
    }
    workgroupBarrier();
    let digit = atomicLoad(&chosen);
    base += bitcast<f32>(atomicLoad(&low_sums[digit])) * unit;
    t += digit << shift;
    workgroupBarrier();
  }
  return t;
}

// Whether a token at distance d from the maximum is kept; `t` is the exact threshold within the bins where top-k and
// top-p end.
fn kept(d: f32, key: u32, t: u32) -> bool {
  let b = bin(d);
  let last = select(parts[3], min(parts[2], parts[3]), parts[1] <= parts[2]);
  return (b < parts[0] || (b <= last && key >= t)) && weight(d, settings.temperature) >= settings.min_p;
}

// The kept probability of a token, or of a slice: its certain tokens and its candidates.
fn mass(slice: bool, i: u32, top: f32, t: u32) -> f32 {
  var sum = 0.0;
  var count = 1u;
  if (slice) {
    sum = bitcast<f32>(parts[HEAD + i * EACH + 2u]);
    count = parts[HEAD + i * EACH + 3u];
  }
  for (var n = 0u; n < count; n++) {
    var key = 0u;
    if (slice) { key = cand[i * SLICE + n]; } else { key = ordered(logits[i]); }
    let d = top - value(key);
    if (kept(d, key, t)) { sum += weight(d, settings.temperature); }
  }
  return sum;
}

fn draw(lane: u32, slices: u32, top: f32, pos: u32) {
  // the candidates of all slices together, in their order
  let per = (slices + WG - 1u) / WG;
  var begin = lane * per;
  var end = min(begin + per, slices);
  var own = 0.0;
  for (var s = begin; s < end; s++) { own += f32(parts[HEAD + s * EACH + 3u]); }
  let counts = scan(lane, vec2(own, 0.0));
  let count = u32(counts.z);
  var to = u32(counts.x);
  for (var s = begin; s < end; s++) {
    for (var n = 0u; n < parts[HEAD + s * EACH + 3u]; n++) {
      let key = cand[s * SLICE + n];
      if (count <= NEAR) { near[to] = key; } else { cand[slices * SLICE + to] = key; }
      to++;
    }
  }
  workgroupBarrier();
  storageBarrier();

  // the exact thresholds of top-k, then top-p
  var t = 0u;
  var all = bitcast<f32>(parts[6]); // the probability that top-k leaves
  for (var by_p = u32(parts[3] == BINS); by_p < select(1u, 2u, parts[1] <= parts[2]); by_p++) {
    let limit = select(f32(settings.top_k), max(settings.top_p * all, 1e-30), by_p == 1u);
    let base = bitcast<f32>(parts[4u + by_p]);
    t = max(t, threshold(lane, count, slices, top, by_p == 1u, t, base, limit));
    var rest = 0.0;
    for (var i = lane; i < count; i += WG) {
      let key = candidate(i, count, slices);
      let d = top - value(key);
      if (key >= t && bin(d) == parts[3]) { rest += weight(d, settings.temperature); }
    }
    all += scan(lane, vec2(rest, 0.0)).z;
  }

  // the slice, then the token in it, where the cumulative probability passes u: the last that starts at or before it
  let u = f32(pcg(pos ^ pcg(settings.seed)) >> 8u) / 16777216.0;
  for (var level = 0u; level < 2u; level++) {
    own = 0.0;
    for (var i = begin; i < end; i++) { own += mass(level == 0u, i, top, t); }
    let masses = scan(lane, vec2(own, 0.0));
    if (lane == 0u) {
      atomicStore(&chosen, 0u);
      if (level == 0u) {
        item = 0u;
        goal = u * masses.z;
      }
    }
    workgroupBarrier();
    let here = goal;
    if (own > 0.0 && masses.x <= here) { atomicMax(&chosen, lane); }
    workgroupBarrier();
    if (lane == atomicLoad(&chosen)) {
      var before = masses.x;
      for (var i = begin; i < end; i++) {
        let m = mass(level == 0u, i, top, t);
        if (m > 0.0 && before <= here) {
          item = i;
          goal = here - before;
        }
        before += m;
      }
    }
    workgroupBarrier();
    const OWN: u32 = SLICE / WG;
    begin = item * SLICE + lane * OWN;
    end = min(begin + OWN, p.vocab);
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { start = vec3(state[0], state[1], state[2]); }
  let now = workgroupUniformLoad(&start);
  if (now.y != 0u) { return; }
  let slices = (p.vocab + SLICE - 1u) / SLICE;
  let top = largest(lane, slices);
  if (settings.temperature != 0.0) { draw(lane, slices, value(top.x), now.x); }
  if (lane != 0u) { return; }
  // keys of -inf and +inf
  let next = select(item, top.y, settings.temperature == 0.0 || top.x <= 0x007FFFFFu || top.x >= 0xFF800000u);
  tokens[now.x + 1u] = next;
  penalties[next] = settings.repetition_penalty;
  state[0] = now.x + 1u;
  state[2] = now.z + 1u;
  var done = now.x + 1u >= settings.end;
  for (var n = 0u; n < min(settings.stop_count, 16u); n++) { done = done || next == settings.stop[n]; }
  state[1] = u32(done);
}
