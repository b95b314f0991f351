// y[n, oy, ox, o] = sum over ky, kx, c of
//   x[n, oy * stride_y - top + ky, ox * stride_x - left + kx, first + c] * w[ky, kx, c, o], with zeros around x, where
//   each of `groups` parts of the outputs reads its own part of the channels, from `first` on.
// x: [N, height, width, channels] f32, w: [kernel_height, kernel_width, channels / groups, outputs] f32 ->
// y: [N, out_height, out_width, outputs] f32, any sizes. An invocation computes 4 outputs of a group at 4 neighbouring
// positions; neighbouring invocations read neighbouring weights and the same x. No barriers. count: invocations.
// grid: ceil(count / 64), folded in y. ref: ops conv. pick: where neither unfold with linear nor
// conv_depthwise can be used.

struct Params {
  height: u32, width: u32, channels: u32, out_height: u32, out_width: u32, kernel_height: u32, kernel_width: u32,
  stride_y: u32, stride_x: u32, top: u32, left: u32, outputs: u32, groups: u32, count: u32,
}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

fn store(v: vec4<f32>, i: u32, outputs: u32) {
  y[i] = epilogue(v.x, i);
  if (outputs > 1u) { y[i + 1u] = epilogue(v.y, i + 1u); }
  if (outputs > 2u) { y[i + 2u] = epilogue(v.z, i + 2u); }
  if (outputs > 3u) { y[i + 3u] = epilogue(v.w, i + 3u); }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let at = id.y * grid.x * 64u + id.x;
  if (at >= p.count) { return; }
  let per_group = p.outputs / p.groups;
  let parts = (per_group + 3u) / 4u;
  let spans = (p.out_width + 3u) / 4u;
  var rest = at / parts;
  let part = (at - rest * parts) * 4u;
  let group = rest % p.groups;
  rest /= p.groups;
  let ox = rest % spans * 4u;
  rest /= spans;
  let oy = rest % p.out_height;
  let n = rest / p.out_height;
  let channels = p.channels / p.groups;
  let o = group * per_group + part;
  let outputs = min(4u, per_group - part);
  let others = min(vec3<u32>(1u, 2u, 3u), vec3<u32>(outputs - 1u));
  let first_row = oy * p.stride_y - p.top; // before x: wraps round to more than height
  let first_column = ox * p.stride_x - p.left;
  var a = vec4<f32>();
  var b = vec4<f32>();
  var c = vec4<f32>();
  var d = vec4<f32>();
  for (var ky = 0u; ky < p.kernel_height; ky++) {
    let row = first_row + ky;
    if (row >= p.height) { continue; }
    for (var kx = 0u; kx < p.kernel_width; kx++) {
      let column = first_column + kx + vec4<u32>(0u, 1u, 2u, 3u) * p.stride_x;
      let inside = column < vec4<u32>(p.width);
      let base = ((n * p.height + row) * p.width + min(column, vec4<u32>(p.width - 1u))) * p.channels + group * channels;
      var weight = (ky * p.kernel_width + kx) * channels * p.outputs + o;
      for (var i = 0u; i < channels; i++) {
        let v = vec4<f32>(x[base.x + i], x[base.y + i], x[base.z + i], x[base.w + i]);
        let u = select(vec4<f32>(), v, inside);
        let m = vec4<f32>(w[weight], w[weight + others.x], w[weight + others.y], w[weight + others.z]);
        a += u.x * m;
        b += u.y * m;
        c += u.z * m;
        d += u.w * m;
        weight += p.outputs;
      }
    }
  }
  let i = ((n * p.out_height + oy) * p.out_width + ox) * p.outputs + o;
  store(a, i, outputs);
  if (ox + 1u < p.out_width) { store(b, i + p.outputs, outputs); }
  if (ox + 2u < p.out_width) { store(c, i + 2u * p.outputs, outputs); }
  if (ox + 3u < p.out_width) { store(d, i + 3u * p.outputs, outputs); }
}
