// linear: y[t, j] = x[t, :] . W[j, :]
//   NORM: with x[t, :] * g / sqrt(mean(x[t, :]^2) + eps) in the place of x[t, :]. (It is faster to run
//   rms_norm before, since each invocation would also load g.)
//   GATED: activated(gate) * up, where gate is row j and up row n + j of W.
// x: [rows, k] f32, g: [k] f32, w: planes of FORMAT -> y[t * y_stride + y_offset + j] for j < n. k % 32 == 0.
// An invocation computes 8 rows of W, for 8 outputs or 4 gated ones: on a processor the loads are the cost, and each
// group of x is loaded once for all of them. No barriers, no workgroup memory.
// grid: G = ceil(n / (8 * WG)), GATED: ceil(n / (4 * WG)), as (min(G, 65535), ceil(G / 65535), rows).
// pick: software adapters, rows <= 4.
const WG: u32 = 8u;             // spec: invocations a workgroup
const NORM: bool = false;       // spec: x is RMS-normed with gain g
const GATED: bool = false;      // spec: activated(gate) * up

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT
// include: gates/silu.wgsl // spec: GATE

fn store(v: f32, t: u32, j: u32) {
    if j < p.n {
        let i = t * p.y_stride + p.y_offset + j;
        y[i] = epilogue(v, i);
    }
}

fn store4(v: vec4<f32>, t: u32, j: u32) {
    store(v.x, t, j);
    store(v.y, t, j + 1u);
    store(v.z, t, j + 2u);
    store(v.w, t, j + 3u);
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
    let t = wg.z;
    let j = ((wg.y * grid.x + wg.x) * WG + lid) * select(8u, 4u, GATED);
    if j >= p.n { return; }
    let groups = p.k / 32u;
    let four = j + vec4<u32>(0u, 1u, 2u, 3u);
    let last = vec4<u32>(p.n - 1u);
    let a = min(four, last) * groups;
    let b = select(min(four + 4u, last), min(four, last) + p.n, GATED) * groups;
    var sum_a = vec4<f32>();
    var sum_b = vec4<f32>();
    var squares = vec4<f32>();
    for (var i = 0u; i < groups; i++) {
        let at = (t * groups + i) * 8u;
        var v = array<vec4<f32>, 8>(x[at], x[at + 1u], x[at + 2u], x[at + 3u],
            x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]);
        if NORM {
            squares += v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + v[3] * v[3]
                + v[4] * v[4] + v[5] * v[5] + v[6] * v[6] + v[7] * v[7];
            let c = i * 8u;
            v = array<vec4<f32>, 8>(v[0] * g[c], v[1] * g[c + 1u], v[2] * g[c + 2u], v[3] * g[c + 3u],
                v[4] * g[c + 4u], v[5] * g[c + 5u], v[6] * g[c + 6u], v[7] * g[c + 7u]);
        }
        let xs = prepare(v);
        sum_a += vec4<f32>(dot32(a.x + i, xs), dot32(a.y + i, xs), dot32(a.z + i, xs), dot32(a.w + i, xs));
        sum_b += vec4<f32>(dot32(b.x + i, xs), dot32(b.y + i, xs), dot32(b.z + i, xs), dot32(b.w + i, xs));
    }
    if NORM {
        let r = inverseSqrt(dot(squares, vec4<f32>(1.0)) / f32(p.k) + p.eps);
        sum_a *= r;
        sum_b *= r;
    }
    if GATED {
        let gate = vec4<f32>(activated(sum_a.x), activated(sum_a.y), activated(sum_a.z), activated(sum_a.w));
        store4(gate * sum_b, t, j);
    } else {
        store4(sum_a, t, j);
        store4(sum_b, t, j + 4u);
    }
}
