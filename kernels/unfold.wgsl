// y[n, oy, ox, (ky, kx, c)] = x[n, oy * stride_y - top + ky, ox * stride_x - left + kx, c], 0 outside of x: the windows
// of a convolution, which then is a `linear` (im2col).
// x: [N, height, width, channels] f32 -> y: [N, out_height, out_width, kernel_height, kernel_width, channels] f32,
// count elements.
// grid: ceil(count / 64), folded in y. ref: ops unfold. pick: always.

struct Params {
  height: u32, width: u32, channels: u32, out_height: u32, out_width: u32, kernel_height: u32, kernel_width: u32,
  stride_y: u32, stride_x: u32, top: u32, left: u32, count: u32,
}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * 64u + id.x;
  if (i >= p.count) { return; }
  var rest = i / p.channels;
  let c = i - rest * p.channels;
  let kx = rest % p.kernel_width;
  rest /= p.kernel_width;
  let ky = rest % p.kernel_height;
  rest /= p.kernel_height;
  let ox = rest % p.out_width;
  rest /= p.out_width;
  let oy = rest % p.out_height;
  let n = rest / p.out_height;
  let row = oy * p.stride_y + ky - p.top; // before x: wraps round to more than height
  let column = ox * p.stride_x + kx - p.left;
  var v = 0.0;
  if (row < p.height && column < p.width) {
    v = x[((n * p.height + row) * p.width + column) * p.channels + c];
  }
  y[i] = epilogue(v, i);
}
