// Sampling, 4 of 4 (see sample.wgsl): chooses the token and advances the state, in one workgroup:
//   tokens[pos + 1] = token; penalties[token] = settings.repetition_penalty; state[0] = pos + 1; state[2] += 1;
//   state[1] (done) = 1 if the token is a stop token or the new pos has reached settings.end.
// `end` is the pos at which a generation is over: (prompt tokens - 1) + tokens to generate, at most the context's length.
// Nothing is written when done is set already. The draw: u = pcg(pos xor pcg(seed)) / 2^32 (its upper 24 bits); the token is the
// first in order of its number whose cumulative probability exceeds u, so a seed repeats a text on one adapter exactly.
// logits: [vocab] f32; parts, cand: sample_select.wgsl; penalties: [vocab] f32; tokens: [context + 1] u32; state: 8 u32.
// grid: (1, 1, 1). ref: ops.py sample. pick: always.
// include: sample.wgsl

struct Params { vocab: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> settings: Settings;
@group(0) @binding(2) var<storage, read> parts: array<u32>;
@group(0) @binding(3) var<storage, read_write> cand: array<u32>;
@group(0) @binding(4) var<storage, read_write> penalties: array<f32>;
@group(0) @binding(5) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(6) var<storage, read_write> state: array<u32>;
@group(0) @binding(7) var<uniform> p: Params;

const NEAR: u32 = 2048u; // candidates that workgroup memory holds; more are read from the second half of cand
const ROWS: u32 = max(WG / 16u, 1u);

var<workgroup> near: array<u32, NEAR>;
var<workgroup> sums: array<f32, 16u * ROWS>;
var<workgroup> chosen: atomic<u32>;
var<workgroup> start: vec3<u32>; // pos, done, tokens generated
var<workgroup> slice: u32;
var<workgroup> goal: f32;
var<workgroup> token: u32;

fn pcg(v: u32) -> u32 {
  let s = v * 747796405u + 2891336453u;
  let word = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
  return (word >> 22u) ^ word;
}

fn candidate(i: u32, count: u32, slices: u32) -> u32 {
  if (count <= NEAR) { return near[i]; }
  return cand[slices * SLICE + i];
}

// The lowest t for which base + (the number, or the weight, of candidates with a key > t, of those with a key >= least) < limit:
// four bits of t a round, sixteen values at a time, each summed by ROWS lanes.
fn threshold(
  lane: u32, count: u32, slices: u32, top: f32, weighed: bool, least: u32, base: f32, limit: f32,
) -> u32 {
  var t = 0u;
  for (var round = 0u; round < 8u; round++) {
    let shift = 28u - 4u * round;
    if (lane == 0u) { atomicStore(&chosen, 15u); }
    for (var digit = lane % 16u; digit < 16u; digit += WG) {
      let bound = t + (digit << shift) + ((1u << shift) - 1u);
      var sum = 0.0;
      for (var i = lane / 16u; i < count; i += ROWS) {
        let key = candidate(i, count, slices);
        if (key > bound && key >= least) {
          if (weighed) { sum += weight(top - value(key)); } else { sum += 1.0; }
        }
      }
      sums[digit * ROWS + lane / 16u] = sum;
    }
    workgroupBarrier();
    for (var digit = lane; digit < 16u; digit += WG) {
      var sum = base;
      for (var row = 0u; row < ROWS; row++) { sum += sums[digit * ROWS + row]; }
      if (sum < limit) { atomicMin(&chosen, digit); }
    }
    workgroupBarrier();
    t += atomicLoad(&chosen) << shift;
    workgroupBarrier();
  }
  return t;
}

// Whether a token at distance d of the maximum is kept; `t` is the exact threshold within the bins where top-k and top-p end.
fn kept(d: f32, key: u32, t: u32) -> bool {
  let b = bin(d);
  let last = select(parts[3], min(parts[2], parts[3]), parts[1] <= parts[2]);
  return (b < parts[0] || (b <= last && key >= t)) && weight(d) >= settings.min_p;
}

// The kept probability of one slice.
fn slice_mass(s: u32, top: f32, t: u32) -> f32 {
  var mass = bitcast<f32>(parts[HEAD + s * EACH + 2u]);
  for (var n = 0u; n < parts[HEAD + s * EACH + 3u]; n++) {
    let key = cand[s * SLICE + n];
    let d = top - value(key);
    if (kept(d, key, t)) { mass += weight(d); }
  }
  return mass;
}

fn draw(lane: u32, slices: u32, top: f32, pos: u32) {
  // candidates together, in their order
  let per = (slices + WG - 1u) / WG;
  let begin = lane * per;
  let end = min(begin + per, slices);
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

  var t = 0u;
  var all = bitcast<f32>(parts[6]);
  if (parts[3] < BINS) {
    t = threshold(lane, count, slices, top, false, 0u, bitcast<f32>(parts[4]), f32(settings.top_k));
    var rest = 0.0;
    for (var i = lane; i < count; i += WG) {
      let key = candidate(i, count, slices);
      let d = top - value(key);
      if (key >= t && bin(d) == parts[3]) { rest += weight(d); }
    }
    all += scan(lane, vec2(rest, 0.0)).z;
  }
  if (parts[1] <= parts[2]) {
    let limit = max(settings.top_p * all, 1e-30);
    t = max(t, threshold(lane, count, slices, top, true, t, bitcast<f32>(parts[5]), limit));
  }

  // the slice, then the token, where the cumulative probability passes u: the last one that starts at or before it
  own = 0.0;
  for (var s = begin; s < end; s++) { own += slice_mass(s, top, t); }
  let masses = scan(lane, vec2(own, 0.0));
  let u = f32(pcg(pos ^ pcg(settings.seed)) >> 8u) / 16777216.0 * masses.z;
  if (lane == 0u) { atomicStore(&chosen, 0u); }
  workgroupBarrier();
  if (own > 0.0 && masses.x <= u) { atomicMax(&chosen, lane); }
  workgroupBarrier();
  if (lane == atomicLoad(&chosen)) {
    var before = masses.x;
    for (var s = begin; s < end; s++) {
      let mass = slice_mass(s, top, t);
      if (mass > 0.0 && before <= u) {
        slice = s;
        goal = u - before;
      }
      before += mass;
    }
  }
  workgroupBarrier();
  const OWN: u32 = SLICE / WG;
  let low = slice * SLICE + lane * OWN;
  let high = min(low + OWN, p.vocab);
  own = 0.0;
  for (var i = low; i < high; i++) {
    let d = top - logits[i];
    if (kept(d, ordered(logits[i]), t)) { own += weight(d); }
  }
  let inside = scan(lane, vec2(own, 0.0));
  if (lane == 0u) { atomicStore(&chosen, 0u); }
  workgroupBarrier();
  if (own > 0.0 && inside.x <= goal) { atomicMax(&chosen, lane); }
  workgroupBarrier();
  if (lane == atomicLoad(&chosen)) {
    var before = inside.x;
    for (var i = low; i < high; i++) {
      let d = top - logits[i];
      if (!kept(d, ordered(logits[i]), t)) { continue; }
      let w = weight(d);
      if (w > 0.0 && before <= goal) { token = i; }
      before += w;
    }
  }
  workgroupBarrier();
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
  let next = select(token, top.y, settings.temperature == 0.0 || top.x <= 0x007FFFFFu || top.x >= 0xFF800000u);
  tokens[now.x + 1u] = next;
  penalties[next] = settings.repetition_penalty;
  state[0] = now.x + 1u;
  state[2] = now.z + 1u;
  var done = now.x + 1u >= settings.end;
  for (var n = 0u; n < min(settings.stop_count, 16u); n++) { done = done || next == settings.stop[n]; }
  state[1] = u32(done);
}
