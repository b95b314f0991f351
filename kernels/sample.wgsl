// Included. The shared part of the sampling kernels. They run in this order, for logits x [vocab] that already contain
// the repetition penalty:
//   sample_max        each slice of SLICE tokens: the largest logit and its token; clears the histogram
//   sample_histogram  d = max(x) - x by BINS bins: how many tokens, and how much of the probability (in fixed point, so
//                     that the order of the atomic additions does not matter)
//   sample_select     the few bins in which top-k and top-p end; collects their tokens ("candidates"), and each slice's
//                     probability in the bins that are certainly kept
//   sample_draw       one workgroup: the exact thresholds among the candidates, the draw, the new state
// Greedy decoding (temperature 0) needs the first and the last; the others return at once, as all do when state[1]
// (done) is set.
//
// Hugging Face's rules in its order: x / temperature; top-k keeps x >= the k-th largest; top-p keeps a token if the
// probability of those above it is < top_p (so at least one); min-p keeps a token if its probability is >= min_p times
// the largest. Ties with the last token kept are kept too. NaN counts as the lowest value. If the largest logit is not
// finite, the first token that has it is chosen.
const WG: u32 = 256u; // spec: a power of two, 4u to 256u; software adapters: 4u
const SLICE: u32 = 1024u;
const BINS: u32 = 1024u; // spec: 1024u | 256u, the same in all; software adapters, slow to compile large arrays: 256u
const BIN_WIDTH: u32 = 0x08000000u / BINS; // of the bits of d: sixteen octaves in all
const HEAD: u32 = 16u; // words of `parts` before the slices, written by sample_select
const EACH: u32 = 8u; // words of a slice: key of the largest logit, its token, probability, candidates, sum of exp

struct Settings {
  temperature: f32, top_p: f32, min_p: f32, top_k: u32, seed: u32, repetition_penalty: f32, end: u32, stop_count: u32,
  stop: array<u32, 16>,
}

// The bin of d >= 0, by its exponent and the first bits of its mantissa, from 2^-8 to 2^8: the bins are relatively as
// fine near the maximum as far from it. It is integer arithmetic on one subtraction, so that all kernels agree.
fn bin(d: f32) -> u32 {
  let bits = bitcast<u32>(d);
  return select(min((bits - 0x3B800000u) / BIN_WIDTH, BINS - 1u), 0u, bits < 0x3B800000u);
}

fn bin_start(b: u32) -> f32 { return select(bitcast<f32>(0x3B800000u + b * BIN_WIDTH), 0.0, b == 0u); }

// exp(-d / temperature), or 0 for a logit of -inf or NaN.
fn weight(d: f32, temperature: f32) -> f32 {
  return select(exp(-d / temperature), 0.0, (bitcast<u32>(d) & 0x7FFFFFFFu) >= 0x7F000000u);
}

// The key and the token of the largest logit of all slices.
fn largest(lane: u32, slices: u32) -> vec2<u32> {
  var key = 0u;
  var id = 0xFFFFFFFFu;
  for (var s = lane; s < slices; s += WG) {
    let k = parts[HEAD + s * EACH];
    if (k > key || id == 0xFFFFFFFFu) {
      key = k;
      id = parts[HEAD + s * EACH + 1u];
    }
  }
  return best(lane, key, id);
}

var<workgroup> running: array<vec2<f32>, 2u * WG>;

// For two numbers of each lane, their sums over the lanes before it and over all lanes (counts below 2^24 are exact).
fn scan(lane: u32, v: vec2<f32>) -> vec4<f32> {
  var from_ = 0u;
  running[lane] = v;
  workgroupBarrier();
  for (var step = 1u; step < WG; step *= 2u) {
    let to = WG - from_;
    var sum = running[from_ + lane];
    if (lane >= step) { sum += running[from_ + lane - step]; }
    running[to + lane] = sum;
    workgroupBarrier();
    from_ = to;
  }
  let before = running[from_ + max(lane, 1u) - 1u];
  let all = running[from_ + WG - 1u];
  workgroupBarrier();
  return vec4(select(before, vec2(0.0), lane == 0u), all);
}
