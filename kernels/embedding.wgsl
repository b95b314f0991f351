// embedding: y[t, :] = W[tokens[pos + t], :] with pos = state[0].
//   POSITIONS: W[min(first + pos + t, row_end - 1), :] instead: learned positions. Only padding lies beyond the table.
// tokens: u32[...], state: u32[8], w: planes of FORMAT -> y: [rows, k] f32. k % 32 == 0.
// A table may be split over several buffers: this one holds the rows row_start..row_end-1, and only tokens among
// those are written. One invocation dequantises 32 weights; no barriers.
// grid: G = ceil(rows * k / 32 / WG) workgroups as (min(G, 65535), ceil(G / 65535), 1). pick: always.
const WG: u32 = 64u;            // spec: invocations a workgroup
const POSITIONS: bool = false;  // spec: rows are of positions, not of tokens

struct Params { rows: u32, k: u32, blocks: u32, row_start: u32, row_end: u32, first: u32 }
@group(0) @binding(0) var<storage, read> tokens: array<u32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
    let g = (wg.y * grid.x + wg.x) * WG + lid;
    let groups = p.k / 32u;
    let t = g / groups;
    if t >= p.rows { return; }
    var token = 0u;
    if POSITIONS {
        token = min(p.first + state[0] + t, p.row_end - 1u);
    } else {
        token = tokens[state[0] + t];
    }
    if token < p.row_start || token >= p.row_end { return; }
    let weights = weights32((token - p.row_start) * groups + g % groups);
    let at = g * 32u;
    for (var i = 0u; i < 32u; i++) {
        y[at + i] = epilogue(weights[i / 4u][i % 4u], at + i);
    }
}
