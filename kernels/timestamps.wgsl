// Included. Whisper's rules for timestamps (arXiv:2212.04356, as transformers and openai-whisper apply them), for the
// tokens begin .. pos that were generated so far, pos = state[0]; a token >= rules.first is a timestamp:
//   after a pair of timestamps, or one that is the first token, text must follow; after a single one, another one or an
//   end token;
//   a timestamp must not be below the last one, nor equal to it unless it closes the segment that the last one opened;
//   where all timestamps together are likelier than the likeliest text token, only a timestamp may follow.
// masks [2, vocab] f32 are added to the logits: the first row for the first token, the second for all tokens after it.
// Without timestamps rules.first = vocab. The logit of a token that may not follow becomes NEVER.
const WG: u32 = 128u; // spec: a power of two, 4u to 256u; software adapters: 4u
const SLICE: u32 = 1024u;
const EACH: u32 = 3u; // words of a slice: the largest logit of text, that of timestamps, their sum of exp
const NEVER: f32 = -1e30;

struct Rules { begin: u32, first: u32, text_end: u32, spare: u32 } // text_end: the first id of tokens that are no text

var<workgroup> newest: atomic<u32>; // index + 1 of the last timestamp in tokens

// The first ids of text (x) and of timestamps (y) that may follow.
fn allowed(lane: u32) -> vec2<u32> {
  let next = state[0] + 1u;
  if (lane == 0u) { atomicStore(&newest, 0u); }
  workgroupBarrier();
  for (var i = rules.begin + lane; i < next; i += WG) {
    if (tokens[i] >= rules.first) { atomicMax(&newest, i + 1u); }
  }
  workgroupBarrier();
  let found = atomicLoad(&newest);
  if (found == 0u) { return vec2(0u, rules.first); }
  if (found < next) { return vec2(0u, tokens[found - 1u] + 1u); }
  if (next - rules.begin == 1u || tokens[max(next, 2u) - 2u] >= rules.first) { return vec2(0u, 0xFFFFFFFFu); }
  return vec2(rules.text_end, tokens[found - 1u]);
}

fn ruled(i: u32, from_: vec2<u32>) -> f32 {
  if (i < select(from_.x, from_.y, i >= rules.first)) { return NEVER; }
  return logits[i] + masks[select(p.vocab, 0u, state[0] + 1u == rules.begin) + i];
}
