// y[i] = epilogue(x[i], i) for i < count: a chain of elementwise operations in the generated epilogue. y must not be x:
// this cannot work in place. x, y: [count] f32.
// grid: ceil(count / WG) workgroups, folded in y: (min(n, 65535), ceil(n / 65535), 1).
// ref: every elementwise op. pick: the chain could not run in the store of the kernel before it.
const WG: u32 = 64u; // spec: 32u | 64u | 128u | 256u

struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let i = id.y * grid.x * WG + id.x;
  if (i < p.count) { y[i] = epilogue(x[i], i); }
}
