enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
// linear as in matmul_matrix.wgsl (parameters, bindings, GATED), in tiles of 32 rows by 32 rows of W (GATED: 16 of gate
// and 16 of up), in steps of 128 of k: each of four subgroups computes 32 of these, and adds up 2 by 2 matrices.
// Strips 4i + s hold rows 16i to 16i + 15 of x, and strips 8 + 4i + s those of W, where s is the subgroup.
// grid: G = ceil(n / 32), GATED: ceil(n / 16), as (min(G, 65535), ceil(G / 65535), ceil(rows / 32)).
// ref: ops linear. pick: rows > 4, with 16 x 16 x 16 matrices, where matmul_matrix would have too few workgroups.
const GATED: bool = false;      // spec: activated(gate) * up

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

const WIDE: u32 = select(32u, 16u, GATED);  // columns of y
const ROOM: f32 = 32768.0; // the largest magnitude that x and W may have in f16
var<workgroup> memory: array<array<vec4<u32>, 82>, 16>;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: matrix.wgsl
// include: range.wgsl
// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT
// include: gates/silu.wgsl // spec: GATE

// The row of W that is row r of a workgroup's, within bounds.
fn row_of(first: u32, r: u32) -> u32 {
    if GATED {
        return min(first + r % 16u, p.n - 1u) + select(0u, p.n, r >= 16u);
    }
    return min(first + r, p.n - 1u);
}

// The sum of the subgroups' sums for row r and column c of the tile.
fn sum(r: u32, c: u32) -> f32 {
    let strip = r / 16u * 8u + c / 16u * 4u;
    let at = r % 16u * 5u + c % 16u / 4u;
    return bitcast<f32>(memory[strip][at][c % 4u]) + bitcast<f32>(memory[strip + 1u][at][c % 4u])
        + bitcast<f32>(memory[strip + 2u][at][c % 4u]) + bitcast<f32>(memory[strip + 3u][at][c % 4u]);
}

// The same with the gate and the epilogue, for y[at].
fn value(r: u32, c: u32, at: u32, factor: f32) -> f32 {
    var v = factor * sum(r, c);
    if GATED {
        v = activated(v) * (factor * sum(r, c + 16u));
    }
    return epilogue(v, at);
}

@compute @workgroup_size(128)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>, @builtin(subgroup_id) subgroup: u32) {
    let first_t = wg.z * 32u;
    let first_j = (wg.y * grid.x + wg.x) * WIDE;
    let groups = p.k / 32u;
    let slab = lid % 4u;
    let c = lid / 4u % 4u;          // loads these two vectors of a group of x, for rows row, row + 8, ...
    let row = lid / 16u;
    let x0 = min(first_t + row, p.rows - 1u) * groups;
    let x1 = min(first_t + row + 8u, p.rows - 1u) * groups;
    let x2 = min(first_t + row + 16u, p.rows - 1u) * groups;
    let x3 = min(first_t + row + 24u, p.rows - 1u) * groups;
    let x_at = row * 5u + c;
    let w_row = row_of(first_j, lid / 4u) * groups; // and a group of one row of W
    let w_strip = 8u + lid / 64u * 4u + slab;
    let w_at = lid / 4u % 16u * 5u;
    var s00: Sums;
    var s01: Sums;
    var s10: Sums;
    var s11: Sums;
    var scale = vec2<f32>(1.0);
    loop {
        s00 = Sums();
        s01 = Sums();
        s10 = Sums();
        s11 = Sums();
        var top_x = vec4<f32>();
        var top_w = vec4<f32>();
        for (var k = 0u; k < groups; k += 4u) {
            let group = min(k + slab, groups - 1u);
            let g = group * 8u + c;
            let u0 = x[x0 * 8u + g];
            let u4 = x[x0 * 8u + g + 4u];
            let u1 = x[x1 * 8u + g];
            let u5 = x[x1 * 8u + g + 4u];
            let u2 = x[x2 * 8u + g];
            let u6 = x[x2 * 8u + g + 4u];
            let u3 = x[x3 * 8u + g];
            let u7 = x[x3 * 8u + g + 4u];
            top_x = max(top_x, largest32(array<vec4<f32>, 8>(u0, u1, u2, u3, u4, u5, u6, u7)));
            memory[slab][x_at] = eight(u0 * scale.x, u4 * scale.x);
            memory[slab][x_at + 40u] = eight(u1 * scale.x, u5 * scale.x);
            memory[slab + 4u][x_at] = eight(u2 * scale.x, u6 * scale.x);
            memory[slab + 4u][x_at + 40u] = eight(u3 * scale.x, u7 * scale.x);
            let v = weights32(w_row + group);
            top_w = max(top_w, largest32(v));
            let some = k + slab < groups;
            memory[w_strip][w_at] = select(vec4<u32>(), eight(v[0] * scale.y, v[4] * scale.y), some);
            memory[w_strip][w_at + 1u] = select(vec4<u32>(), eight(v[1] * scale.y, v[5] * scale.y), some);
            memory[w_strip][w_at + 2u] = select(vec4<u32>(), eight(v[2] * scale.y, v[6] * scale.y), some);
            memory[w_strip][w_at + 3u] = select(vec4<u32>(), eight(v[3] * scale.y, v[7] * scale.y), some);
            workgroupBarrier();
            {
                let b0 = subgroupMatrixLoad<Right, col_major>(&memory[subgroup + 8u], 0u, 5u);
                let b1 = subgroupMatrixLoad<Right, col_major>(&memory[subgroup + 12u], 0u, 5u);
                let a0 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup], 0u, 5u);
                s00 = subgroupMatrixMultiplyAccumulate(a0, b0, s00);
                s01 = subgroupMatrixMultiplyAccumulate(a0, b1, s01);
                let a1 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup + 4u], 0u, 5u);
                s10 = subgroupMatrixMultiplyAccumulate(a1, b0, s10);
                s11 = subgroupMatrixMultiplyAccumulate(a1, b1, s11);
            }
            {
                let b0 = subgroupMatrixLoad<Right, col_major>(&memory[subgroup + 8u], 2u, 5u);
                let b1 = subgroupMatrixLoad<Right, col_major>(&memory[subgroup + 12u], 2u, 5u);
                let a0 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup], 2u, 5u);
                s00 = subgroupMatrixMultiplyAccumulate(a0, b0, s00);
                s01 = subgroupMatrixMultiplyAccumulate(a0, b1, s01);
                let a1 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup + 4u], 2u, 5u);
                s10 = subgroupMatrixMultiplyAccumulate(a1, b0, s10);
                s11 = subgroupMatrixMultiplyAccumulate(a1, b1, s11);
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
    subgroupMatrixStore<row_major>(&memory[subgroup], 0u, s00, 5u);
    subgroupMatrixStore<row_major>(&memory[subgroup + 4u], 0u, s01, 5u);
    subgroupMatrixStore<row_major>(&memory[subgroup + 8u], 0u, s10, 5u);
    subgroupMatrixStore<row_major>(&memory[subgroup + 12u], 0u, s11, 5u);
    workgroupBarrier();
    let column = lid % WIDE;
    let j = first_j + column;
    // 4 elements at a time, so that the epilogue's reads for all of them are under way before any is stored
    for (var first = lid / WIDE; first < 32u; first += 512u / WIDE) {
        let r = first + vec4<u32>(0u, 1u, 2u, 3u) * (128u / WIDE);
        let at = (first_t + r) * p.y_stride + p.y_offset + j;
        let v = vec4(value(r.x, column, at.x, factor), value(r.y, column, at.y, factor),
            value(r.z, column, at.z, factor), value(r.w, column, at.w, factor));
        let inside = (first_t + r < vec4(p.rows)) & vec4(j < p.n);
        if inside.x { y[at.x] = v.x; }
        if inside.y { y[at.y] = v.y; }
        if inside.z { y[at.z] = v.z; }
        if inside.w { y[at.w] = v.w; }
    }
}
