// linear: y[t, j] = x[t, :] . W[j, :]
//   NORM: with x[t, :] * g / sqrt(mean(x[t, :]^2) + eps) in the place of x[t, :]; the sum of squares is computed in the
//   same pass, and the root is applied at the end.
//   GATED: activated(gate) * up, where gate is row j and up row n + j of W.
// x: [rows, k] f32, g: [k] f32, w: planes of FORMAT -> y[t * y_stride + y_offset + j] for j < n. k % 32 == 0.
// LANES neighbouring invocations share 4 rows of W (4 outputs, or 2 gated ones) and compute groups of 32 columns in
// turn, so that they read neighbouring vectors of the planes; their sums are added in workgroup memory.
// grid: G = ceil(n / OUT) as (min(G, 65535), ceil(G / 65535), rows), OUT = 4 * WG / LANES, GATED: 2 * WG / LANES.
// pick: default limits, rows <= 4.
const WG: u32 = 64u;            // spec: invocations a workgroup
const LANES: u32 = 32u;         // spec: invocations sharing rows, divides WG
const NORM: bool = false;       // spec: x is RMS-normed with gain g
const GATED: bool = false;      // spec: activated(gate) * up

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

var<workgroup> sums: array<vec4<f32>, WG>;
var<workgroup> squares: array<f32, WG>;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// There is no layer norm here: only matvec_subgroup.wgsl can compute one.
fn normed(v: array<vec4<f32>, 8>, i: u32) -> array<vec4<f32>, 8> { return v; }
// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT
// include: gates/silu.wgsl // spec: GATE
// include: matvec_part.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
    let lane = lid % LANES;
    let first = ((wg.y * grid.x + wg.x) * (WG / LANES) + lid / LANES) * OUTPUTS;
    let part = partial_sums(wg.z, first, lane, LANES);
    sums[lid] = part.sums;
    squares[lid] = part.squares;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        if lane < step {
            sums[lid] += sums[lid + step];
            squares[lid] += squares[lid + step];
        }
        workgroupBarrier();
    }
    if lane < OUTPUTS {
        store(sums[lid - lane], squares[lid - lane], wg.z, first, lane);
    }
}
