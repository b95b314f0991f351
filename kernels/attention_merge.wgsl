// Attention over a long context, second half: joins the slices of attention_split.wgsl to y[t, h, :], without barriers;
// 0 where no slice has a key.
// parts: [rows, heads, splits, head_dim + 2] f32 -> y: [rows, heads * head_dim] f32. One invocation an element of y.
// grid: (ceil(head_dim / WG), heads, rows). ref: ops attention. pick: after attention_split, attention_step and
// sdpa_row.
const WG: u32 = 64u; // spec: 4u to 256u

struct Params { rows: u32, heads: u32, head_dim: u32, splits: u32 }
@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let e = id.x;
  if (e >= p.head_dim) { return; }
  let row = id.z * p.heads + id.y;
  let stride = p.head_dim + 2u;
  let first = row * p.splits * stride;
  var highest = parts[first + p.head_dim];
  for (var s = 1u; s < p.splits; s++) { highest = max(highest, parts[first + s * stride + p.head_dim]); }
  var sum = 0.0;
  var total = 0.0;
  for (var s = 0u; s < p.splits; s++) {
    let at = first + s * stride;
    let part = parts[at + p.head_dim + 1u];
    if (part == 0.0) { continue; }
    let w = exp(parts[at + p.head_dim] - highest);
    sum += w * parts[at + e];
    total += w * part;
  }
  let i = row * p.head_dim + e;
  y[i] = epilogue(select(0.0, sum / total, total > 0.0), i);
}
