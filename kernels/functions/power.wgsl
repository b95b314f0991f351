// a to the power b. A whole exponent up to 1024 is multiplied out, so that the sign is right and the error small;
// others are exp2(b log2 |a|), whose error grows with |b log2 a|. A negative a with an exponent that is not whole gives
// NaN. For epilogues. ref: ops pow.
fn power(a: f32, b: f32) -> f32 {
  if (b == 0.0) { return 1.0; }
  let whole = b == floor(b);
  if (whole && abs(b) <= 1024.0) {
    var result = 1.0;
    var square = a;
    for (var n = u32(abs(b)); n > 0u; n >>= 1u) {
      if ((n & 1u) == 1u) { result *= square; }
      square *= square;
    }
    return select(result, 1.0 / result, b < 0.0);
  }
  if (a < 0.0 && !whole) { return bitcast<f32>(bitcast<u32>(a) | 0x7fc00000u); }
  if (a == 0.0) { return select(0.0, 1.0 / abs(a), b < 0.0); }
  let size = exp2(b * log2(abs(a)));
  return select(size, -size, a < 0.0 && fract(b * 0.5) != 0.0);
}
