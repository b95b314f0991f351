enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
// linear: y[t, j] = x[t, :] . W[w_row + j, :] for many rows of x, by subgroup matrices: f16 products, f32 sums.
//   GATED: silu(gate) * up, where gate is row j and up row n + j of W.
// x: [rows, k] f32, w: planes of FORMAT -> y[t * y_stride + y_offset + j] for j < n. k % 32 == 0.
// A workgroup is WM x WN x WK subgroups of 32 invocations. It computes ROWS rows by COLUMNS rows of W: a subgroup takes
// TM x TN matrices of 16 by 16 and every WK-th part of k. In steps of GROUPS * 32 of k the workgroup brings x and W as
// f16 to strips of workgroup memory, each 16 rows of 32 of k: a row is four vectors of eight f16, and a fifth that
// keeps rows apart, so that neither rows nor strips meet in a bank. The compiler sees constant offsets and strides in
// a strip, and needs no bounds checks. Sums leave through the same strips, a row being 16 f32.
// GATED: of the matrices of W every other one holds rows of up.
// grid: G = ceil(n / COLUMNS), GATED: ceil(2n / COLUMNS), as (min(G, 65535), ceil(G / 65535), ceil(rows / ROWS)).
// ref: ops.py linear. pick: rows > 4, where 16 x 16 x 16 matrices are; TILES in ops.py for the sizes.
const TM: u32 = 4u;             // spec: matrices a subgroup, along rows of x
const TN: u32 = 2u;             // spec: along rows of W, even if GATED
const WM: u32 = 2u;             // spec: subgroups along rows of x
const WN: u32 = 4u;             // spec: along rows of W
const WK: u32 = 1u;             // spec: along k
const SLABS: u32 = 2u;          // spec: groups of 32 of k a subgroup and step
const GATED: bool = false;      // spec: silu(gate) * up

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32, w_row: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

const SIZE: u32 = 32u * WM * WN * WK;
const ROWS: u32 = 16u * TM * WM;
const COLUMNS: u32 = 16u * TN * WN;
const GROUPS: u32 = SLABS * WK;
const STRIP: u32 = 80u + 8u / GROUPS;
var<workgroup> memory: array<array<vec4<u32>, STRIP>, (TM * WM + TN * WN) * GROUPS>;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT

fn eight(a: vec4<f32>, b: vec4<f32>) -> vec4<u32> {
    return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}

// Row r of a workgroup's rows of W: in W, within bounds.
fn row_of(first: u32, r: u32) -> u32 {
    if GATED {
        return p.w_row + min(first + r / 32u * 16u + r % 16u, p.n - 1u) + select(0u, p.n, r / 16u % 2u == 1u);
    }
    return p.w_row + min(first + r, p.n - 1u);
}

// Element (r, c) of the sums of the matrix that is number `tile` of the workgroup.
fn summed(tile: u32, r: u32, c: u32) -> f32 {
    var v = 0.0;
    for (var part = 0u; part < WK; part++) {
        v += bitcast<f32>(memory[tile + part * WM * WN * TN][r * 5u + c / 4u][c % 4u]);
    }
    return v;
}

@compute @workgroup_size(SIZE)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>, @builtin(subgroup_id) subgroup: u32) {
    let first_t = wg.z * ROWS;
    let first_j = (wg.y * grid.x + wg.x) * select(COLUMNS, COLUMNS / 2u, GATED);
    let groups = p.k / 32u;
    let part = subgroup / (WM * WN) * SLABS;
    let rows = subgroup / WN % WM * TM;
    let columns = TM * WM + subgroup % WN * TN;
    var sums = array<array<subgroup_matrix_result<f32, 16, 16>, TN>, TM>();
    for (var k = 0u; k < groups; k += GROUPS) {
        for (var n = 0u; n < ROWS * GROUPS * 4u / SIZE; n++) {
            let e = lid + n * SIZE;
            let q = e % (GROUPS * 4u);
            let r = e / (GROUPS * 4u);
            let at = (min(first_t + r, p.rows - 1u) * groups + min(k + q / 4u, groups - 1u)) * 8u + q % 4u * 2u;
            memory[r / 16u * GROUPS + q / 4u][r % 16u * 5u + q % 4u] = eight(x[at], x[at + 1u]);
        }
        for (var e = lid; e < COLUMNS * GROUPS; e += SIZE) {
            let slab = e % GROUPS;
            let r = e / GROUPS;
            let v = weights32(row_of(first_j, r) * groups + min(k + slab, groups - 1u));
            let some = k + slab < groups;
            let strip = (TM * WM + r / 16u) * GROUPS + slab;
            let at = r % 16u * 5u;
            memory[strip][at] = select(vec4<u32>(), eight(v[0], v[1]), some);
            memory[strip][at + 1u] = select(vec4<u32>(), eight(v[2], v[3]), some);
            memory[strip][at + 2u] = select(vec4<u32>(), eight(v[4], v[5]), some);
            memory[strip][at + 3u] = select(vec4<u32>(), eight(v[6], v[7]), some);
        }
        workgroupBarrier();
        for (var s = part; s < part + SLABS; s++) {
            var low = array<subgroup_matrix_right<f16, 16, 16>, TN>();
            var high = array<subgroup_matrix_right<f16, 16, 16>, TN>();
            for (var j = 0u; j < TN; j++) {
                let strip = (columns + j) * GROUPS + s;
                low[j] = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&memory[strip], 0u, 5u);
                high[j] = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&memory[strip], 2u, 5u);
            }
            for (var i = 0u; i < TM; i++) {
                let strip = (rows + i) * GROUPS + s;
                let a = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&memory[strip], 0u, 5u);
                let b = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&memory[strip], 2u, 5u);
                for (var j = 0u; j < TN; j++) {
                    sums[i][j] = subgroupMatrixMultiplyAccumulate(a, low[j], sums[i][j]);
                    sums[i][j] = subgroupMatrixMultiplyAccumulate(b, high[j], sums[i][j]);
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < TM; i++) {
        for (var j = 0u; j < TN; j++) {
            subgroupMatrixStore<row_major>(&memory[subgroup * TN + j], 0u, sums[i][j], 5u);
        }
        workgroupBarrier();
        const WIDE = select(TN * 16u, TN * 8u, GATED);
        for (var e = lid; e < WM * WN * 16u * WIDE; e += SIZE) {
            let c = e % WIDE;
            let r = e / WIDE % 16u;
            let source = e / WIDE / 16u; // subgroup
            let t = first_t + (source / WN * TM + i) * 16u + r;
            let j = first_j + source % WN * WIDE + c;
            if t < p.rows && j < p.n {
                let at = t * p.y_stride + p.y_offset + j;
                var v = 0.0;
                if GATED {
                    let tile = source * TN + c / 16u * 2u;
                    let gate = summed(tile, r, c % 16u);
                    v = gate / (1.0 + exp(-gate)) * summed(tile + 1u, r, c % 16u);
                } else {
                    v = summed(source * TN + c / 16u, r, c % 16u);
                }
                y[at] = epilogue(v, at);
            }
        }
        workgroupBarrier();
    }
}
