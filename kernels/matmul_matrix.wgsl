enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
// linear: y[t, j] = x[t, :] . W[j, :] for many rows of x, by subgroup matrices: f16 products, f32 sums (see range.wgsl
// for numbers beyond f16).
//   GATED: activated(gate) * up, where gate is row j and up row n + j of W.
// x: [rows, k] f32, w: planes of FORMAT -> y[t * y_stride + y_offset + j] for j < n. k % 32 == 0.
// A workgroup of 8 subgroups computes 128 rows by 128 rows of W (GATED: 64 of gate and 64 of up, 16 by 16 in turn) in
// steps of 64 of k: it loads both to workgroup memory as f16, then each subgroup adds up 4 by 2 matrices.
// Strips 0..7 hold rows of x, 8..15 rows of W. Each 32 of k are in the order 0..3, 16..19, 4..7, ... in both, so that
// neighbours read neighbouring vectors of x.
// grid: G = ceil(n / 128), GATED: ceil(n / 64), as (min(G, 65535), ceil(G / 65535), ceil(rows / 128)).
// ref: ops linear. pick: rows > 4, with 16 x 16 x 16 matrices, if there are enough tiles to keep the GPU busy.
const GATED: bool = false;      // spec: activated(gate) * up

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

const WIDE: u32 = select(32u, 16u, GATED);  // columns of y a subgroup
const ROOM: f32 = 32768.0; // the largest magnitude that x and W may have in f16
var<workgroup> memory: array<array<vec4<u32>, 144>, 16>;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: matrix.wgsl
// include: range.wgsl
// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT
// include: gates/silu.wgsl // spec: GATE

// The row of W that is row r of a workgroup's, within bounds.
fn row_of(first: u32, r: u32) -> u32 {
    if GATED {
        return min(first + r / 32u * 16u + r % 16u, p.n - 1u) + select(0u, p.n, r / 16u % 2u == 1u);
    }
    return min(first + r, p.n - 1u);
}

fn sum(strip: u32, r: u32, c: u32) -> f32 {
    return bitcast<f32>(memory[strip][r * 9u + c / 4u][c % 4u]);
}

// Row r of all strips and column c, for y[at].
fn value(r: u32, c: u32, at: u32, factor: f32) -> f32 {
    var v = factor * sum(r / 16u, r % 16u, c);
    if GATED {
        v = activated(v) * (factor * sum(r / 16u, r % 16u, c + 16u));
    }
    return epilogue(v, at);
}

// Stores rows 16i..16i+15 of each subgroup, which are in strips 0..7, and 16 more in strips 8..15: 4 elements at a
// time, so that the epilogue's reads for all of them are under way before any is stored.
fn store(first_t: u32, first_j: u32, i: u32, factor: f32, lid: u32) {
    let c = lid % WIDE;
    for (var first = lid / WIDE; first < 256u; first += 1024u / WIDE) {
        let r = first + vec4<u32>(0u, 1u, 2u, 3u) * (256u / WIDE);
        let strip = r / 16u;
        let t = first_t + strip / 4u % 2u * 64u + (strip / 8u + i) * 16u + r % 16u;
        let j = first_j + strip % 4u * WIDE + c;
        let at = t * p.y_stride + p.y_offset + j;
        let v = vec4(value(r.x, c, at.x, factor), value(r.y, c, at.y, factor),
            value(r.z, c, at.z, factor), value(r.w, c, at.w, factor));
        let inside = (t < vec4(p.rows)) & (j < vec4(p.n));
        if inside.x { y[at.x] = v.x; }
        if inside.y { y[at.y] = v.y; }
        if inside.z { y[at.z] = v.z; }
        if inside.w { y[at.w] = v.w; }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>, @builtin(subgroup_id) subgroup: u32) {
    let first_t = wg.z * 128u;
    let first_j = (wg.y * grid.x + wg.x) * 4u * WIDE;
    let groups = p.k / 32u;
    let c = lid % 4u;               // loads these two vectors of a group of x, for rows row, row + 32, ...
    let slab = lid / 4u % 2u;
    let row = lid / 8u;
    let x0 = min(first_t + row, p.rows - 1u) * groups;
    let x1 = min(first_t + row + 32u, p.rows - 1u) * groups;
    let x2 = min(first_t + row + 64u, p.rows - 1u) * groups;
    let x3 = min(first_t + row + 96u, p.rows - 1u) * groups;
    let x_at = row % 16u * 9u + slab * 4u + c;
    let w_slab = lid % 2u;          // and a group of one row of W
    let w_row = row_of(first_j, lid / 2u) * groups;
    let w_strip = 8u + lid / 32u;
    let w_at = lid / 2u % 16u * 9u + w_slab * 4u;
    let rows = subgroup / 4u * 4u;
    let columns = 8u + subgroup % 4u * 2u;
    var s00: Sums;
    var s01: Sums;
    var s10: Sums;
    var s11: Sums;
    var s20: Sums;
    var s21: Sums;
    var s30: Sums;
    var s31: Sums;
    var scale = vec2<f32>(1.0);
    loop {
        s00 = Sums();
        s01 = Sums();
        s10 = Sums();
        s11 = Sums();
        s20 = Sums();
        s21 = Sums();
        s30 = Sums();
        s31 = Sums();
        var top_x = vec4<f32>();
        var top_w = vec4<f32>();
        for (var k = 0u; k < groups; k += 2u) {
            let g = min(k + slab, groups - 1u) * 8u + c;
            let u0 = x[x0 * 8u + g];
            let u4 = x[x0 * 8u + g + 4u];
            let u1 = x[x1 * 8u + g];
            let u5 = x[x1 * 8u + g + 4u];
            let u2 = x[x2 * 8u + g];
            let u6 = x[x2 * 8u + g + 4u];
            let u3 = x[x3 * 8u + g];
            let u7 = x[x3 * 8u + g + 4u];
            top_x = max(top_x, largest32(array<vec4<f32>, 8>(u0, u1, u2, u3, u4, u5, u6, u7)));
            memory[row / 16u][x_at] = eight(u0 * scale.x, u4 * scale.x);
            memory[row / 16u + 2u][x_at] = eight(u1 * scale.x, u5 * scale.x);
            memory[row / 16u + 4u][x_at] = eight(u2 * scale.x, u6 * scale.x);
            memory[row / 16u + 6u][x_at] = eight(u3 * scale.x, u7 * scale.x);
            let v = weights32(w_row + min(k + w_slab, groups - 1u));
            top_w = max(top_w, largest32(v));
            let some = k + w_slab < groups;
            memory[w_strip][w_at] = select(vec4<u32>(), eight(v[0] * scale.y, v[4] * scale.y), some);
            memory[w_strip][w_at + 1u] = select(vec4<u32>(), eight(v[1] * scale.y, v[5] * scale.y), some);
            memory[w_strip][w_at + 2u] = select(vec4<u32>(), eight(v[2] * scale.y, v[6] * scale.y), some);
            memory[w_strip][w_at + 3u] = select(vec4<u32>(), eight(v[3] * scale.y, v[7] * scale.y), some);
            workgroupBarrier();
            {
                let b0 = subgroupMatrixLoad<Right, col_major>(&memory[columns], 0u, 9u);
                let b1 = subgroupMatrixLoad<Right, col_major>(&memory[columns + 1u], 0u, 9u);
                let a0 = subgroupMatrixLoad<Left, row_major>(&memory[rows], 0u, 9u);
                s00 = subgroupMatrixMultiplyAccumulate(a0, b0, s00);
                s01 = subgroupMatrixMultiplyAccumulate(a0, b1, s01);
                let a1 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 1u], 0u, 9u);
                s10 = subgroupMatrixMultiplyAccumulate(a1, b0, s10);
                s11 = subgroupMatrixMultiplyAccumulate(a1, b1, s11);
                let a2 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 2u], 0u, 9u);
                s20 = subgroupMatrixMultiplyAccumulate(a2, b0, s20);
                s21 = subgroupMatrixMultiplyAccumulate(a2, b1, s21);
                let a3 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 3u], 0u, 9u);
                s30 = subgroupMatrixMultiplyAccumulate(a3, b0, s30);
                s31 = subgroupMatrixMultiplyAccumulate(a3, b1, s31);
            }
            {
                let b0 = subgroupMatrixLoad<Right, col_major>(&memory[columns], 2u, 9u);
                let b1 = subgroupMatrixLoad<Right, col_major>(&memory[columns + 1u], 2u, 9u);
                let a0 = subgroupMatrixLoad<Left, row_major>(&memory[rows], 2u, 9u);
                s00 = subgroupMatrixMultiplyAccumulate(a0, b0, s00);
                s01 = subgroupMatrixMultiplyAccumulate(a0, b1, s01);
                let a1 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 1u], 2u, 9u);
                s10 = subgroupMatrixMultiplyAccumulate(a1, b0, s10);
                s11 = subgroupMatrixMultiplyAccumulate(a1, b1, s11);
                let a2 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 2u], 2u, 9u);
                s20 = subgroupMatrixMultiplyAccumulate(a2, b0, s20);
                s21 = subgroupMatrixMultiplyAccumulate(a2, b1, s21);
                let a3 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 3u], 2u, 9u);
                s30 = subgroupMatrixMultiplyAccumulate(a3, b0, s30);
                s31 = subgroupMatrixMultiplyAccumulate(a3, b1, s31);
            }
            {
                let b0 = subgroupMatrixLoad<Right, col_major>(&memory[columns], 4u, 9u);
                let b1 = subgroupMatrixLoad<Right, col_major>(&memory[columns + 1u], 4u, 9u);
                let a0 = subgroupMatrixLoad<Left, row_major>(&memory[rows], 4u, 9u);
                s00 = subgroupMatrixMultiplyAccumulate(a0, b0, s00);
                s01 = subgroupMatrixMultiplyAccumulate(a0, b1, s01);
                let a1 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 1u], 4u, 9u);
                s10 = subgroupMatrixMultiplyAccumulate(a1, b0, s10);
                s11 = subgroupMatrixMultiplyAccumulate(a1, b1, s11);
                let a2 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 2u], 4u, 9u);
                s20 = subgroupMatrixMultiplyAccumulate(a2, b0, s20);
                s21 = subgroupMatrixMultiplyAccumulate(a2, b1, s21);
                let a3 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 3u], 4u, 9u);
                s30 = subgroupMatrixMultiplyAccumulate(a3, b0, s30);
                s31 = subgroupMatrixMultiplyAccumulate(a3, b1, s31);
            }
            {
                let b0 = subgroupMatrixLoad<Right, col_major>(&memory[columns], 6u, 9u);
                let b1 = subgroupMatrixLoad<Right, col_major>(&memory[columns + 1u], 6u, 9u);
                let a0 = subgroupMatrixLoad<Left, row_major>(&memory[rows], 6u, 9u);
                s00 = subgroupMatrixMultiplyAccumulate(a0, b0, s00);
                s01 = subgroupMatrixMultiplyAccumulate(a0, b1, s01);
                let a1 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 1u], 6u, 9u);
                s10 = subgroupMatrixMultiplyAccumulate(a1, b0, s10);
                s11 = subgroupMatrixMultiplyAccumulate(a1, b1, s11);
                let a2 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 2u], 6u, 9u);
                s20 = subgroupMatrixMultiplyAccumulate(a2, b0, s20);
                s21 = subgroupMatrixMultiplyAccumulate(a2, b1, s21);
                let a3 = subgroupMatrixLoad<Left, row_major>(&memory[rows + 3u], 6u, 9u);
                s30 = subgroupMatrixMultiplyAccumulate(a3, b0, s30);
                s31 = subgroupMatrixMultiplyAccumulate(a3, b1, s31);
            }
            workgroupBarrier();
        }
        let over = vec2<f32>(largest(top_x), largest(top_w)) * scale >= vec2<f32>(ROOM);
        if lid == 0u { // the tile's memory is not needed any more
            memory[0][0] = vec4<u32>();
        }
        workgroupBarrier();
        if any(over) { // if several invocations write, one remains; the next try finds what it does not know
            memory[0][0] = vec4<u32>(select(vec2<u32>(), vec2<u32>(1u), over), 0u, 0u);
        }
        let next = smaller(scale, workgroupUniformLoad(&memory[0][0]).xy > vec2<u32>());
        if all(next == scale) {
            break;
        }
        scale = next;
    }
    let factor = 1.0 / scale.x / scale.y;
    subgroupMatrixStore<row_major>(&memory[subgroup], 0u, s00, 9u);
    subgroupMatrixStore<row_major>(&memory[subgroup], 4u, s01, 9u);
    subgroupMatrixStore<row_major>(&memory[subgroup + 8u], 0u, s10, 9u);
    subgroupMatrixStore<row_major>(&memory[subgroup + 8u], 4u, s11, 9u);
    workgroupBarrier();
    store(first_t, first_j, 0u, factor, lid);
    workgroupBarrier();
    subgroupMatrixStore<row_major>(&memory[subgroup], 0u, s20, 9u);
    subgroupMatrixStore<row_major>(&memory[subgroup], 4u, s21, 9u);
    subgroupMatrixStore<row_major>(&memory[subgroup + 8u], 0u, s30, 9u);
    subgroupMatrixStore<row_major>(&memory[subgroup + 8u], 4u, s31, 9u);
    workgroupBarrier();
    store(first_t, first_j, 2u, factor, lid);
}
