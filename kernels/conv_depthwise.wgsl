// conv, depthwise: y[n, oy, ox, c] = sum over ky, kx of
//   x[n, oy * stride_y - top + ky, ox * stride_x - left + kx, c] * w[ky, kx, c], with zeros around x.
// x: [N, height, width, channels] f32, w: [kernel_height, kernel_width, channels] f32 ->
// y: [N, out_height, out_width, channels] f32. channels % 4 == 0. An invocation computes 4 channels of one position, so
// that neighbouring invocations read neighbouring vectors. No barriers. count: 4 channels each.
// grid: ceil(count / 64), folded in y. ref: ops conv. pick: one channel a group in and out, channels % 4 == 0.

struct Params {
  height: u32, width: u32, channels: u32, out_height: u32, out_width: u32, kernel_height: u32, kernel_width: u32,
  stride_y: u32, stride_x: u32, top: u32, left: u32, count: u32,
}
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let at = id.y * grid.x * 64u + id.x;
  if (at >= p.count) { return; }
  let fours = p.channels / 4u;
  var rest = at / fours;
  let c = at - rest * fours;
  let ox = rest % p.out_width;
  rest /= p.out_width;
  let oy = rest % p.out_height;
  let n = rest / p.out_height;
  let first_row = oy * p.stride_y - p.top; // before x: wraps round to more than height
  let first_column = ox * p.stride_x - p.left;
  var sums = vec4<f32>();
  for (var ky = 0u; ky < p.kernel_height; ky++) {
    let row = first_row + ky;
    if (row >= p.height) { continue; }
    let base = (n * p.height + row) * p.width;
    for (var kx = 0u; kx < p.kernel_width; kx++) {
      let column = first_column + kx;
      if (column < p.width) {
        sums += x[(base + column) * fours + c] * w[(ky * p.kernel_width + kx) * fours + c];
      }
    }
  }
  let i = at * 4u;
  y[i] = epilogue(sums.x, i);
  y[i + 1u] = epilogue(sums.y, i + 1u);
  y[i + 2u] = epilogue(sums.z, i + 2u);
  y[i + 3u] = epilogue(sums.w, i + 3u);
}
