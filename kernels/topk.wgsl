// The k best of each slice of each row, in order: y[r, 0, s * k + j] = the bits of the j-th largest value of slice s,
// y[r, 1, s * k + j] = its index in the row; among equals the lowest index comes first. NaN comes last (as 0x7FC00000),
// -0 becomes 0. In a slice with fewer than k values the missing ones come after the NaNs, with the index 0xFFFFFFFF.
// FIRST: x: [rows, n] f32, the values. Otherwise x: [rows, 2, n] u32, the output of the run before.
// y: [rows, 2, slices * k] u32, slices = ceil(n / slice).
// k rounds: an invocation keeps the best of its values that was not chosen yet, and looks for the next when it was.
// grid: rows * slices, folded in y: (min(G, 65535), ceil(G / 65535), 1). ref: ops topk. pick: always, repeatedly until
// a row is one slice.
const WG: u32 = 256u; // spec: a power of two, 4u to 256u
const FIRST: bool = true; // spec: false after the first run
// include: best.wgsl

struct Params { rows: u32, n: u32, k: u32, slice: u32 }
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

// Whether a (key, index) comes before b.
fn before(a: vec2<u32>, b: vec2<u32>) -> bool { return a.x > b.x || (a.x == b.x && a.y < b.y); }

fn candidate(row: u32, i: u32) -> vec2<u32> {
  if (FIRST) { return vec2(ordered(bitcast<f32>(x[row * p.n + i])), i); }
  return vec2(ordered(bitcast<f32>(x[2u * row * p.n + i])), x[(2u * row + 1u) * p.n + i]);
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let slices = (p.n + p.slice - 1u) / p.slice;
  let group = id.y * grid.x + id.x;
  let row = group / slices;
  if (row >= p.rows) { return; }
  let begin = group % slices * p.slice;
  let end = min(begin + p.slice, p.n);
  var taken = vec2(0xFFFFFFFFu, 0u); // before every value
  var mine = taken;
  for (var j = 0u; j < p.k; j++) {
    if (all(mine == taken)) {
      mine = vec2(0u, 0xFFFFFFFFu);
      for (var i = begin + lane; i < end; i += WG) {
        let c = candidate(row, i);
        if (before(c, mine) && before(taken, c)) { mine = c; }
      }
    }
    taken = best(lane, mine.x, mine.y);
    if (lane == 0u) {
      let to = 2u * row * slices * p.k + group % slices * p.k + j;
      y[to] = select(bitcast<u32>(value(taken.x)), 0x7FC00000u, taken.x == 0u);
      y[to + slices * p.k] = taken.y;
    }
    workgroupBarrier();
  }
}
