// y[index, r, c, :] = rgb * scale + offset, where rgb are the first three bytes of x[top + r, left + c], or 0 outside
// of x: an image cut out, rescaled and normalised.
// x: [height, width] u32 of 4 bytes each -> y: [N, out_height, out_width, 3] f32, of which one image is written.
// grid: ceil(out_height * out_width / 64), folded in y. ref: ops pixel_values. pick: always.

struct Params {
  height: u32, width: u32, out_height: u32, out_width: u32, index: u32, top: i32, left: i32,
  scale_r: f32, scale_g: f32, scale_b: f32, offset_r: f32, offset_g: f32, offset_b: f32,
}
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * 64u + id.x;
  if (i >= p.out_height * p.out_width) { return; }
  let row = u32(i32(i / p.out_width) + p.top); // above x: more than height
  let column = u32(i32(i % p.out_width) + p.left);
  var v = 0u;
  if (row < p.height && column < p.width) { v = x[row * p.width + column]; }
  let rgb = vec3<f32>(vec3<u32>(v, v >> 8u, v >> 16u) & vec3<u32>(255u));
  let scale = vec3<f32>(p.scale_r, p.scale_g, p.scale_b);
  let values = rgb * scale + vec3<f32>(p.offset_r, p.offset_g, p.offset_b);
  let at = (p.index * p.out_height * p.out_width + i) * 3u;
  y[at] = values.x;
  y[at + 1u] = values.y;
  y[at + 2u] = values.z;
}
