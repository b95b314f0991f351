// Included. The sum and the maximum over the WG invocations of a workgroup. All of them must call a function; further
// calls need no barrier between them.
var<workgroup> part: array<f32, WG>;

fn total(v: f32, lane: u32) -> f32 {
  part[lane] = v;
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) { part[lane] += part[lane + step]; }
    workgroupBarrier();
  }
  let sum = part[0];
  workgroupBarrier();
  return sum;
}

fn highest(v: f32, lane: u32) -> f32 {
  part[lane] = v;
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) { part[lane] = max(part[lane], part[lane + step]); }
    workgroupBarrier();
  }
  let top = part[0];
  workgroupBarrier();
  return top;
}
