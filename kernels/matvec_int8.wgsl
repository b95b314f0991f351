enable subgroups;
// linear: y[t, j] = x[t, :] . W[j, :] over weights of a block format, in integers.
//   x becomes integers of 16 bits that share a scale among 32 (int8_input.wgsl).
//   NORM: with x[t, :] * g / sqrt(mean(x[t, :]^2) + eps) in the place of x[t, :]; the root is applied at the end.
//   GATED: activated(gate) * up, where gate is row j and up row n + j of W.
// x: [rows, k] f32, g: [k] f32, w: planes of FORMAT -> y[t * y_stride + y_offset + j] for j < n. k % 32 == 0.
// LANES neighbouring invocations share OUTPUTS outputs and compute groups of 32 columns in turn. The weights of the
// next group are loaded meanwhile, those of the first while x is loaded to workgroup memory, TILE groups at a time.
// grid: G = ceil(n / (OUTPUTS * WG / LANES)) as (min(G, 65535), ceil(G / 65535), rows). pick: rows <= 4, a block
// format, the tier "subgroups" (device/__init__.py).
const K: u32 = 64u;             // spec: k
const WG: u32 = 256u;           // spec: invocations a workgroup
const OUTPUTS: u32 = 1u;        // spec: outputs of LANES invocations
const TILE: u32 = 192u;         // spec: groups of x in workgroup memory, 80 bytes each
const NORM: bool = false;       // spec: x is RMS-normed with gain g
const GATED: bool = false;      // spec: activated(gate) * up

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

const ROWS = select(OUTPUTS, 2u * OUTPUTS, GATED);

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: int8_input.wgsl
// include: int8/q4_1.wgsl // spec: FORMAT
// include: gates/silu.wgsl // spec: GATE

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
    let t = wg.z;
    let first = ((wg.y * grid.x + wg.x) * (WG / LANES) + lid / LANES) * OUTPUTS;
    var rows = array<u32, ROWS>();
    for (var r = 0u; r < ROWS; r++) {
        rows[r] = (min(first + r % OUTPUTS, p.n - 1u) + select(0u, p.n, r >= OUTPUTS)) * GROUPS;
    }
    var i = lid % LANES;
    var weights = array<Raw, ROWS>();
    for (var r = 0u; r < ROWS; r++) { weights[r] = raw(rows[r] + min(i, GROUPS - 1u)); }
    var sums = array<f32, ROWS>();
    var squares = 0.0;
    for (var start = 0u; start < GROUPS; start += HELD) {
        if start > 0u { workgroupBarrier(); }
        squares += stage(t, start, lid);
        workgroupBarrier();
        while i < min(start + HELD, GROUPS) {
            let v = part(i - start);
            for (var r = 0u; r < ROWS; r++) { sums[r] += product(weights[r], rows[r] + i, v); }
            i += LANES;
            if i < GROUPS {
                for (var r = 0u; r < ROWS; r++) { weights[r] = raw(rows[r] + i); }
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) { sums[r] = team_sum(sums[r]); }
    var scale = 1.0;
    if NORM { scale = inverse_root(squares, lid, p.eps); }
    for (var r = 0u; r < OUTPUTS; r++) {
        if lid % LANES == r && first + r < p.n {
            var v = sums[r] * scale;
            if GATED {
                v = activated(v) * (sums[ROWS / 2u + r] * scale);
            }
            let to = t * p.y_stride + p.y_offset + first + r;
            y[to] = epilogue(v, to);
        }
    }
}
