enable subgroups;
diagnostic(off, subgroup_uniformity); // the loop below is uniform within a subgroup, which the compiler cannot see
// linear: y[t, j] = x[t, :] . W[j, :]
//   NORM: with x[t, :] * g / sqrt(mean(x[t, :]^2) + eps) in the place of x[t, :]; the sum of squares is computed in the
//   same pass, and the root is applied at the end.
//   LAYER: with (x[t, :] - mean(x[t, :])) * g / sqrt(var(x[t, :]) + eps) + b in its place; only then is b read.
//   GATED: activated(gate) * up, where gate is row j and up row n + j of W.
// x: [rows, k] f32, g, b: [k] f32, w: planes of FORMAT -> y[t * y_stride + y_offset + j] for j < n. k % 32 == 0.
// A subgroup computes 4 rows of W (4 outputs, or 2 gated ones), its invocations groups of 32 columns in turn. A
// workgroup has two such halves whatever the size of its subgroups: with more subgroups some are idle, a single one
// computes both.
// Subgroups are assumed to be runs of neighbouring invocations: WGSL does not promise this, but in workgroups of one
// dimension implementations do so.
// grid: G = ceil(n / 8), GATED: ceil(n / 4), as (min(G, 65535), ceil(G / 65535), rows). pick: subgroups, rows <= 4.
const WG: u32 = 64u;            // spec: invocations a workgroup
const NORM: bool = false;       // spec: x is RMS-normed with gain g
const LAYER: bool = false;      // spec: x is layer-normed with gain g and shift b
const GATED: bool = false;      // spec: activated(gate) * up

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;

var<private> mean: f32;
var<private> inverse_deviation: f32;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

// Group i of x, layer-normed.
fn normed(v: array<vec4<f32>, 8>, i: u32) -> array<vec4<f32>, 8> {
    var out = v;
    if LAYER {
        for (var n = 0u; n < 8u; n++) { out[n] = (v[n] - mean) * inverse_deviation * g[i * 8u + n] + b[i * 8u + n]; }
    }
    return out;
}

// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT
// include: gates/silu.wgsl // spec: GATE
// include: matvec_part.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>, @builtin(subgroup_size) size: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
    if LAYER {
        let first = wg.z * p.k / 4u;
        var sum = 0.0;
        for (var i = lane; i < p.k / 4u; i += size) { sum += dot(x[first + i], vec4(1.0)); }
        mean = subgroupAdd(sum) / f32(p.k);
        sum = 0.0;
        for (var i = lane; i < p.k / 4u; i += size) {
            let v = x[first + i] - mean;
            sum += dot(v, v);
        }
        inverse_deviation = inverseSqrt(subgroupAdd(sum) / f32(p.k) + p.eps);
    }
    for (var half = lid / size; half < 2u; half += max(WG / size, 1u)) {
        let first = ((wg.y * grid.x + wg.x) * 2u + half) * OUTPUTS;
        let part = partial_sums(wg.z, first, lane, size);
        let sums = subgroupAdd(part.sums);
        let squares = subgroupAdd(part.squares);
        if lane < OUTPUTS {
            store(sums, squares, wg.z, first, lane);
        }
    }
}
