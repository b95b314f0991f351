// matmul: y[z, i, j] = sum over k of a[z, i, k] * b[z, k, j], all f32, any sizes.
// a: batch matrices of [m, k], a_batch elements from one to the next (0: one for all); b: [k, n] likewise
// -> y: [batch, m, n].
// A workgroup computes a tile of 32 by 32 in steps of 16 of k, each invocation 4 by 4 of it.
// grid: (ceil(n / 32), ceil(m / 32), batch). pick: all but software adapters.
struct Params { batch: u32, m: u32, n: u32, k: u32, a_batch: u32, b_batch: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

var<workgroup> at: array<f32, 528>; // [k][row]; 33 a row, against bank conflicts
var<workgroup> bt: array<f32, 512>; // [k][column]

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

fn store4(v: vec4<f32>, z: u32, row: u32, column: u32) {
    if row >= p.m { return; }
    let i = (z * p.m + row) * p.n + column;
    if column < p.n { y[i] = epilogue(v.x, i); }
    if column + 8u < p.n { y[i + 8u] = epilogue(v.y, i + 8u); }
    if column + 16u < p.n { y[i + 16u] = epilogue(v.z, i + 16u); }
    if column + 24u < p.n { y[i + 24u] = epilogue(v.w, i + 24u); }
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>) {
    let row = wg.y * 32u;
    let column = wg.x * 32u;
    let r = lid / 8u;
    let c = lid % 8u;
    var sums = array<vec4<f32>, 4>();
    for (var k = 0u; k < p.k; k += 16u) {
        for (var e = lid; e < 512u; e += 64u) {
            let ai = row + e / 16u;
            let ak = k + e % 16u;
            var v = 0.0;
            if ai < p.m && ak < p.k { v = a[wg.z * p.a_batch + ai * p.k + ak]; }
            at[e % 16u * 33u + e / 16u] = v;
            let bk = k + e / 32u;
            let bj = column + e % 32u;
            v = 0.0;
            if bk < p.k && bj < p.n { v = b[wg.z * p.b_batch + bk * p.n + bj]; }
            bt[e] = v;
        }
        workgroupBarrier();
        for (var q = 0u; q < 16u; q++) {
            let v = vec4<f32>(bt[q * 32u + c], bt[q * 32u + c + 8u], bt[q * 32u + c + 16u], bt[q * 32u + c + 24u]);
            sums[0] += at[q * 33u + r] * v;
            sums[1] += at[q * 33u + r + 8u] * v;
            sums[2] += at[q * 33u + r + 16u] * v;
            sums[3] += at[q * 33u + r + 24u] * v;
        }
        workgroupBarrier();
    }
    store4(sums[0], wg.z, row + r, column + c);
    store4(sums[1], wg.z, row + r + 8u, column + c);
    store4(sums[2], wg.z, row + r + 16u, column + c);
    store4(sums[3], wg.z, row + r + 24u, column + c);
}
