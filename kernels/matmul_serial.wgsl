// linear: y[t, j] = x[t, :] . W[j, :] for many rows of x.
// x: [rows, k] f32, w: planes of FORMAT -> y[t * y_stride + y_offset + j] for j < n. k % 32 == 0.
// An invocation computes 8 output columns for 4 rows of x: on a processor the loads are the cost, and each group of x
// is loaded once for 8 columns, each group of weights loaded and dequantised once for 4 rows. No barriers.
// grid: G = ceil(n / (8 * WG)) as (min(G, 65535), ceil(G / 65535), ceil(rows / 4)). pick: software adapters, rows > 4.
const WG: u32 = 8u;             // spec: invocations a workgroup

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT

fn load(at: u32) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(x[at], x[at + 1u], x[at + 2u], x[at + 3u],
        x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]);
}

fn store(v: f32, t: u32, j: u32) {
    if t < p.rows {
        let i = t * p.y_stride + p.y_offset + j;
        y[i] = epilogue(v, i);
    }
}

fn store4(v: vec4<f32>, t: u32, j: u32) { // a column
    if j < p.n {
        store(v.x, t, j);
        store(v.y, t + 1u, j);
        store(v.z, t + 2u, j);
        store(v.w, t + 3u, j);
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
    let j = ((wg.y * grid.x + wg.x) * WG + lid) * 8u;
    let t = wg.z * 4u;
    if j >= p.n { return; }
    let groups = p.k / 32u;
    let last = vec4<u32>(p.n - 1u);
    let four = j + vec4<u32>(0u, 1u, 2u, 3u);
    var a = min(four, last) * groups;
    var b = min(four + 4u, last) * groups;
    var at = min(t + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.rows - 1u)) * groups * 8u;
    var sums = array<vec4<f32>, 8>();
    for (var i = 0u; i < groups; i++) {
        let v = array<array<vec4<f32>, 8>, 4>(load(at.x), load(at.y), load(at.z), load(at.w));
        sums[0] += column(a.x, v);
        sums[1] += column(a.y, v);
        sums[2] += column(a.z, v);
        sums[3] += column(a.w, v);
        sums[4] += column(b.x, v);
        sums[5] += column(b.y, v);
        sums[6] += column(b.z, v);
        sums[7] += column(b.w, v);
        a += 1u;
        b += 1u;
        at += 8u;
    }
    store4(sums[0], t, j);
    store4(sums[1], t, j + 1u);
    store4(sums[2], t, j + 2u);
    store4(sums[3], t, j + 3u);
    store4(sums[4], t, j + 4u);
    store4(sums[5], t, j + 5u);
    store4(sums[6], t, j + 6u);
    store4(sums[7], t, j + 7u);
}

// The products of one group of a row of W with the same group of 4 rows of x.
fn column(g: u32, v: array<array<vec4<f32>, 8>, 4>) -> vec4<f32> {
    let weights = weights32(g);
    return vec4<f32>(inner(weights, v[0]), inner(weights, v[1]), inner(weights, v[2]), inner(weights, v[3]));
}
