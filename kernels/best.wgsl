// Included. f32 values as integers of the same order (whose comparisons are exact even where compilers assume that
// there is no NaN and no inf), and the best of a workgroup's WG invocations.

// A float as an integer of the same order (NaN becomes 0, -0 equals 0), and back.
fn ordered(v: f32) -> u32 {
  let bits = bitcast<u32>(v);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) { return 0u; }
  if (bits == 0x80000000u) { return bits; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn value(key: u32) -> f32 { return bitcast<f32>(select(~key, key & 0x7FFFFFFFu, key >= 0x80000000u)); }

var<workgroup> keys: array<u32, WG>;
var<workgroup> ids: array<u32, WG>;

// The largest key and, of those, the lowest id. A barrier must come before the next call.
fn best(lane: u32, key: u32, id: u32) -> vec2<u32> {
  keys[lane] = key;
  ids[lane] = id;
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) {
      let other = keys[lane + step];
      if (other > keys[lane] || (other == keys[lane] && ids[lane + step] < ids[lane])) {
        keys[lane] = other;
        ids[lane] = ids[lane + step];
      }
    }
    workgroupBarrier();
  }
  return vec2(keys[0], ids[0]);
}
