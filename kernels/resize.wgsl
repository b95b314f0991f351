// An image resized along one axis as Pillow does it: y[a, o, b] = sum over s of x[a, s, b] * weight(s, o), rounded to 8
// bits. A filter of the support S looks S * max(1, size / out_size) samples far from (o + 1/2) * size / out_size; its
// weights add up to 1.
// x: [.., size, step] u32 of 4 bytes each -> y: [.., out_size, step], count of them. size, out_size < 32768.
// The place of an output is kept as a whole number and a fraction: f32 gives Pillow's bytes but where a sum lies right
// between two of them (about 1 in 100 between sizes with common factors), which Pillow's rounding of weights decides.
// grid: ceil(count / 64), folded in y. ref: ops resize. pick: always, once for each axis.
const FILTER: u32 = 3u; // spec: Pillow's number: 0u nearest, 2u bilinear, 3u bicubic

struct Params { count: u32, size: u32, out_size: u32, step: u32 }
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

fn weight(distance: f32) -> f32 {
  let d = abs(distance);
  if (FILTER == 2u) { return max(0.0, 1.0 - d); }
  if (d < 1.0) { return (1.5 * d - 2.5) * d * d + 1.0; }
  return select(0.0, ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0, d < 2.0);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * 64u + id.x;
  if (i >= p.count) { return; }
  let b = i % p.step;
  let o = i / p.step % p.out_size;
  let base = i / p.step / p.out_size * p.size * p.step + b;
  let twice = (2u * o + 1u) * p.size; // the place times 2 * out_size
  let whole = twice / (2u * p.out_size);
  if (FILTER == 0u) {
    y[i] = x[base + whole * p.step];
    return;
  }
  let fraction = f32(twice - whole * 2u * p.out_size) / f32(2u * p.out_size);
  let stretch = max(1.0, f32(p.size) / f32(p.out_size));
  let support = select(2.0, 1.0, FILTER == 2u) * stretch;
  let first = max(0, i32(whole) + i32(floor(fraction - support + 0.5)));
  let last = min(i32(p.size), i32(whole) + i32(floor(fraction + support + 0.5)));
  var sums = vec4<f32>();
  var total = 0.0;
  for (var s = first; s < last; s++) {
    let w = weight((f32(s - i32(whole)) + 0.5 - fraction) / stretch);
    let v = x[base + u32(s) * p.step];
    sums += w * vec4<f32>(vec4<u32>(v, v >> 8u, v >> 16u, v >> 24u) & vec4<u32>(255u));
    total += w;
  }
  let rounded = vec4<u32>(clamp(floor(sums / total + 0.5), vec4<f32>(), vec4<f32>(255.0)));
  y[i] = rounded.x | (rounded.y << 8u) | (rounded.z << 16u) | (rounded.w << 24u);
}
