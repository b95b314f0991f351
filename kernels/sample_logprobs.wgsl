// After sampling, in plans traced with logprobs: the log probability of the token drawn and of the 20 most likely ones,
// from the raw distribution softmax(logits): after the repetition penalty, before temperature and every cut-off
// (as OpenAI defines it). logprobs[row, 0] = the token drawn, [row, 1..20] = the most likely ones, best first, among
// equals the lower token first; each is a pair (token, bits of the f32 log probability); row = the token's index in
// `tokens`. With a vocabulary under 20 the rest is 0xFFFFFFFF.
// state[3] counts the rows written, so that a decoding step after the end writes none (the host clears it with the rest
// of the state).
// logits: [vocab] f32; parts: sample_max.wgsl with LOGPROBS = true; tokens, state: sample_draw.wgsl; logprobs: [context
// + 1, 21] pairs.
// grid: (1, 1, 1). ref: ops sample. pick: after sample_draw, where log probabilities are wanted. vocab <= 256 *
// 1024.
// include: sample.wgsl
// include: best.wgsl

struct Params { vocab: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
@group(0) @binding(2) var<storage, read> parts: array<u32>;
@group(0) @binding(3) var<storage, read_write> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> logprobs: array<vec2<u32>>;
@group(0) @binding(5) var<uniform> p: Params;

const TOP: u32 = 20u;
const SLICES: u32 = 256u;

var<workgroup> heads: array<vec2<u32>, SLICES>; // key and token of each slice's largest logit not yet taken
var<workgroup> now: vec4<u32>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { now = vec4(state[0], state[2], state[3], 0u); }
  let step = workgroupUniformLoad(&now);
  if (step.y == step.z) { return; }
  let slices = (p.vocab + SLICE - 1u) / SLICE;
  let top = value(largest(lane, slices).x);
  var sum = 0.0;
  for (var s = lane; s < slices; s += WG) {
    let head = vec2(parts[HEAD + s * EACH], parts[HEAD + s * EACH + 1u]);
    heads[s] = head;
    sum += bitcast<f32>(parts[HEAD + s * EACH + 4u]) * exp(value(head.x) - top);
  }
  let log_sum = log(scan(lane, vec2(sum, 0.0)).z);
  let row = step.x * (TOP + 1u);
  if (lane == 0u) {
    let drawn = tokens[step.x];
    logprobs[row] = vec2(drawn, bitcast<u32>(logits[drawn] - top - log_sum));
    state[3] = step.y;
  }
  for (var n = 1u; n <= TOP; n++) {
    var key = 0u;
    var token = 0xFFFFFFFFu;
    for (var s = lane; s < slices; s += WG) {
      if (heads[s].x > key || token == 0xFFFFFFFFu) {
        key = heads[s].x;
        token = heads[s].y;
      }
    }
    let found = best(lane, key, token);
    if (lane == 0u) {
      let logprob = select(value(found.x) - top - log_sum, -3.4e38, found.y == 0xFFFFFFFFu);
      logprobs[row + n] = vec2(found.y, bitcast<u32>(logprob));
    }
    workgroupBarrier();
    // the next of that slice: the largest that comes after the one taken
    let slice = min(found.y / SLICE, slices - 1u);
    key = 0u;
    token = 0xFFFFFFFFu;
    for (var i = slice * SLICE + lane; i < min((slice + 1u) * SLICE, p.vocab); i += WG) {
      let k = ordered(logits[i]);
      if ((k < found.x || (k == found.x && i > found.y)) && (k > key || token == 0xFFFFFFFFu)) {
        key = k;
        token = i;
      }
    }
    let next = best(lane, key, token);
    if (lane == 0u) { heads[slice] = next; }
    workgroupBarrier();
  }
}
