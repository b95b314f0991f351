// Included. Rotary position embedding of one element of `qkv`: the pair (a, b) number i of a head, at position pos,
// becomes (a cos - b sin, b cos + a sin) with the angle pos * theta_i; elements from ROTARY on stay.
// The table has only 64 + ceil(context / 64) rows of (cos, sin): rows 0..63 are the angles of positions 0..63, row
// 64 + n that of 64 n; their complex product is the angle of any position, as exact as f32 is. Needs the bindings qkv:
// array<f32>, rope_table: array<vec2<f32>>.
const INTERLEAVED: bool = true; // spec: true = pairs (2i, 2i+1) (GGUF llama) | false = (i, i+ROTARY/2) (Hugging Face)
const ROTARY: u32 = 64u; // spec: how many elements of a head are rotated, an even number: the table has half as many

fn rotate(base: u32, e: u32, pos: u32) -> f32 {
  if e >= ROTARY { return qkv[base + e]; }
  let half = ROTARY / 2u;
  let i = select(e % half, e / 2u, INTERLEAVED);
  let low = base + select(i, 2u * i, INTERLEAVED);
  let high = low + select(half, 1u, INTERLEAVED);
  let near = rope_table[(pos & 63u) * half + i];
  let far = rope_table[(64u + (pos >> 6u)) * half + i];
  let c = near.x * far.x - near.y * far.y;
  let s = near.x * far.y + near.y * far.x;
  let is_high = select(e >= half, (e & 1u) == 1u, INTERLEAVED);
  return select(qkv[low] * c - qkv[high] * s, qkv[high] * c + qkv[low] * s, is_high);
}
