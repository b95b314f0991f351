// linear: y[t, j] = x[t, :] . W[w_row + j, :]. NORM: x[t, :] * g / sqrt(mean(x[t, :]^2) + eps) in the place of x[t, :].
// GATED: silu(gate) * up with gate = row j, up = row n + j of W.
// x: [rows, k] f32, g: [k] f32, w: planes of FORMAT -> y: y[t * y_stride + y_offset + j], j < n. k % 32 == 0.
// One invocation computes 4 outputs of one row of x; no barriers, no workgroup memory.
// grid: (ceil(n / (4 * WG)), rows, 1). pick: software adapters (4-wide, slow barriers), rows <= 4.
const WG: u32 = 4u;             // spec: invocations a workgroup
const NORM: bool = false;       // spec: x is RMS-normed with gain g
const GATED: bool = false;      // spec: silu(gate) * up

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32, w_row: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
fn inner(a: array<vec4<f32>, 8>, b: array<vec4<f32>, 8>) -> f32 {
    return dot(a[0], b[0]) + dot(a[1], b[1]) + dot(a[2], b[2]) + dot(a[3], b[3])
        + dot(a[4], b[4]) + dot(a[5], b[5]) + dot(a[6], b[6]) + dot(a[7], b[7]);
}
// include: formats/f32.wgsl // spec: FORMAT

fn store(v: f32, t: u32, j: u32) {
    if j < p.n {
        let i = t * p.y_stride + p.y_offset + j;
        y[i] = epilogue(v, i);
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    let first = id.x * 4u;
    if first >= p.n { return; }
    let groups = p.k / 32u;
    let last = p.n - 1u;
    let rows = (vec4<u32>(first, min(first + 1u, last), min(first + 2u, last), min(first + 3u, last)) + p.w_row) * groups;
    let up_rows = rows + p.n * groups;
    var acc = vec4<f32>();
    var up = vec4<f32>();
    var squares = 0.0;
    for (var i = 0u; i < groups; i++) {
        let at = (t * groups + i) * 8u;
        var v = array<vec4<f32>, 8>(x[at], x[at + 1u], x[at + 2u], x[at + 3u],
            x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]);
        if NORM {
            squares += inner(v, v);
            let c = i * 8u;
            v = array<vec4<f32>, 8>(v[0] * g[c], v[1] * g[c + 1u], v[2] * g[c + 2u], v[3] * g[c + 3u],
                v[4] * g[c + 4u], v[5] * g[c + 5u], v[6] * g[c + 6u], v[7] * g[c + 7u]);
        }
        let sum = dot(v[0] + v[1] + v[2] + v[3] + v[4] + v[5] + v[6] + v[7], vec4<f32>(1.0));
        acc += vec4<f32>(dot32(rows.x + i, v, sum), dot32(rows.y + i, v, sum),
            dot32(rows.z + i, v, sum), dot32(rows.w + i, v, sum));
        if GATED {
            up += vec4<f32>(dot32(up_rows.x + i, v, sum), dot32(up_rows.y + i, v, sum),
                dot32(up_rows.z + i, v, sum), dot32(up_rows.w + i, v, sum));
        }
    }
    if NORM {
        let r = inverseSqrt(squares / f32(p.k) + p.eps);
        acc *= r;
        up *= r;
    }
    if GATED {
        acc = acc / (1.0 + exp(-acc)) * up;
    }
    store(acc.x, t, first);
    store(acc.y, t, first + 1u);
    store(acc.z, t, first + 2u);
    store(acc.w, t, first + 3u);
}
