// y[n, p, c] = (x[n, p, c] - mean) / sqrt(var + eps) * g[c] + b[c], mean and variance over all positions p and the
// channels of c's group (arXiv:1803.08494), one workgroup a group. The mean comes first, then the variance, as in
// layer_norm.wgsl.
// x, y: [N, positions, channels] f32; g, b: [channels] f32; channels % groups == 0, else any sizes. The invocations of
// a workgroup read numbers in turn, neighbours neighbouring channels.
// grid: (groups, N). ref: ops group_norm. pick: always.
const WG: u32 = 256u; // spec: a power of two, 4u to 256u

struct Params { positions: u32, channels: u32, groups: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

// include: reduce.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let width = p.channels / p.groups;
  let count = p.positions * width;
  let first = id.y * p.positions * p.channels + id.x * width;
  var sum = 0.0;
  for (var e = lane; e < count; e += WG) { sum += x[first + e / width * p.channels + e % width]; }
  let mean = total(sum, lane) / f32(count);
  sum = 0.0;
  for (var e = lane; e < count; e += WG) {
    let v = x[first + e / width * p.channels + e % width] - mean;
    sum += v * v;
  }
  let scale = inverseSqrt(total(sum, lane) / f32(count) + p.eps);
  for (var e = lane; e < count; e += WG) {
    let i = first + e / width * p.channels + e % width;
    let c = id.x * width + e % width;
    y[i] = epilogue((x[i] - mean) * scale * g[c] + b[c], i);
  }
}
