// linear: y[t, j] = x[t, :] . W[j, :] for many rows of x.
// x: [rows, k] f32, w: planes of FORMAT -> y[t * y_stride + y_offset + j] for j < n. k % 32 == 0.
// A workgroup computes a tile of 64 rows by 64 columns in steps of 32 of k: half of its invocations each load a row of
// x to workgroup memory, the other half each dequantise 32 weights; then each adds up 8 by 4 outputs.
// A tile is stored as 8 times 64 vectors, where vector 64 q + r holds columns 4q..4q+3 of row r: no bank conflicts.
// grid: G = ceil(n / 64) as (min(G, 65535), ceil(G / 65535), ceil(rows / 64)). pick: rows > 4, without f16.

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

var<workgroup> xs: array<vec4<f32>, 512>;
var<workgroup> ws: array<vec4<f32>, 512>;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT

struct Columns { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32> }
fn products(v: vec4<f32>, columns: Columns) -> vec4<f32> {
    return vec4<f32>(dot(v, columns.a), dot(v, columns.b), dot(v, columns.c), dot(v, columns.d));
}

fn store(v: f32, t: u32, j: u32) {
    if j < p.n {
        let i = t * p.y_stride + p.y_offset + j;
        y[i] = epilogue(v, i);
    }
}

fn store4(v: vec4<f32>, t: u32, j: u32) {
    if t < p.rows {
        store(v.x, t, j);
        store(v.y, t, j + 16u);
        store(v.z, t, j + 32u);
        store(v.w, t, j + 48u);
    }
}

@compute @workgroup_size(128)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
    let first_t = wg.z * 64u;
    let first_j = (wg.y * grid.x + wg.x) * 64u;
    let groups = p.k / 32u;
    let r = lid % 64u;
    let row = select(min(first_t + r, p.rows - 1u), min(first_j + r, p.n - 1u), lid >= 64u) * groups;
    let at = lid / 16u; // rows at, at + 8, ..., columns column, column + 16, ... of the tile
    let column = lid % 16u;
    var sums = array<vec4<f32>, 8>();
    for (var i = 0u; i < groups; i++) {
        if lid < 64u {
            for (var q = 0u; q < 8u; q++) {
                xs[q * 64u + r] = x[(row + i) * 8u + q];
            }
        } else {
            let weights = weights32(row + i);
            ws[r] = weights[0];
            ws[64u + r] = weights[1];
            ws[128u + r] = weights[2];
            ws[192u + r] = weights[3];
            ws[256u + r] = weights[4];
            ws[320u + r] = weights[5];
            ws[384u + r] = weights[6];
            ws[448u + r] = weights[7];
        }
        workgroupBarrier();
        for (var q = 0u; q < 512u; q += 64u) {
            let c = q + column;
            let columns = Columns(ws[c], ws[c + 16u], ws[c + 32u], ws[c + 48u]);
            let t = q + at;
            sums[0] += products(xs[t], columns);
            sums[1] += products(xs[t + 8u], columns);
            sums[2] += products(xs[t + 16u], columns);
            sums[3] += products(xs[t + 24u], columns);
            sums[4] += products(xs[t + 32u], columns);
            sums[5] += products(xs[t + 40u], columns);
            sums[6] += products(xs[t + 48u], columns);
            sums[7] += products(xs[t + 56u], columns);
        }
        workgroupBarrier();
    }
    let t = first_t + at;
    let j = first_j + column;
    store4(sums[0], t, j);
    store4(sums[1], t + 8u, j);
    store4(sums[2], t + 16u, j);
    store4(sums[3], t + 24u, j);
    store4(sums[4], t + 32u, j);
    store4(sums[5], t + 40u, j);
    store4(sums[6], t + 48u, j);
    store4(sums[7], t + 56u, j);
}
