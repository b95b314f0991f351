// dequantize: y[i] = weight i of a buffer in FORMAT, as f32, for 32 * groups weights.
// w: planes of FORMAT -> y: [32 * groups] f32. One invocation dequantises 32 weights; no barriers.
// grid: G = ceil(groups / WG) workgroups as (min(G, 65535), ceil(G / 65535), 1). pick: always.
const WG: u32 = 64u;            // spec: invocations a workgroup

struct Params { groups: u32, blocks: u32 }
@group(0) @binding(0) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
    let g = (wg.y * grid.x + wg.x) * WG + lid;
    if g >= p.groups { return; }
    let weights = weights32(g);
    let at = g * 32u;
    for (var i = 0u; i < 32u; i++) {
        y[at + i] = epilogue(weights[i / 4u][i % 4u], at + i);
    }
}
