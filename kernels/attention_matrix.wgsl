enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
// attention.wgsl for many rows by subgroup matrices (online softmax: Dao et al. 2022, arXiv:2205.14135): f16 products,
// f32 sums.
// A workgroup computes 16 * SUBGROUPS rows of one head, a subgroup 16 of them, in steps of 32 positions. Scores go from
// their matrices to workgroup memory, where two invocations share a row. The sums of v stay in matrices, and are stored
// and scaled there only when a row's maximum grows by more than GROWTH: exp(GROWTH) is well within f16.
// head_dim: 64, 96 or 128; matrices beyond it are declared too, but not used. Bindings and shapes: attention.wgsl.
// grid: (heads, ceil(rows / (16 * SUBGROUPS)), 1), later rows first, as they take longer. ref: ops attention.
// pick: many rows, with 16 x 16 x 16 matrices.
const HEAD_DIM: u32 = 64u;      // spec: 64u | 96u | 128u
const SUBGROUPS: u32 = 4u;      // spec: 2u | 4u, 2 where that fills the GPU better

struct Params { rows: u32, heads: u32, kv_heads: u32, head_dim: u32, context: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> rope_table: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> kcache: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> vcache: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

const SIZE: u32 = 32u * SUBGROUPS;
const ROWS: u32 = 16u * SUBGROUPS;
const CHUNKS: u32 = HEAD_DIM / 8u;
const WIDE: u32 = CHUNKS + 1u;  // vectors a row of a strip
const AT4: u32 = min(8u, CHUNKS - 2u); // where matrices 4 to 7 of a strip begin, if there are that many
const AT5: u32 = min(10u, CHUNKS - 2u);
const AT6: u32 = min(12u, CHUNKS - 2u);
const AT7: u32 = min(14u, CHUNKS - 2u);
const LOWEST: f32 = -3.4e38;
const GROWTH: f32 = 6.0;
var<workgroup> memory: array<array<vec4<u32>, 16u * WIDE>, 4>;  // q, then two strips of k and two of v
var<workgroup> scores: array<array<vec4<u32>, 144>, SUBGROUPS>; // a subgroup's scores, their exp as f16, or its sums
var<workgroup> grown: u32; // the last step in which a maximum grew; all invocations write the same

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: matrix.wgsl
// include: rope.wgsl

// Multiplies the sums that the subgroup stored in `scores`: half a row of 32, from vector `place` on.
fn shrink(subgroup: u32, place: u32, factor: f32) {
    workgroupBarrier();
    for (var n = place; n < place + 4u; n++) {
        scores[subgroup][n] = bitcast<vec4<u32>>(factor * bitcast<vec4<f32>>(scores[subgroup][n]));
    }
    workgroupBarrier();
}

// Writes these sums to y, from element `at` on.
fn leave(subgroup: u32, place: u32, factor: f32, some: bool, at: u32) {
    workgroupBarrier();
    if some {
        for (var n = 0u; n < 16u; n++) {
            y[at + n] = epilogue(factor * bitcast<f32>(scores[subgroup][place + n / 4u][n % 4u]), at + n);
        }
    }
    workgroupBarrier();
}

// The four scores of positions from `first` on, if they are before `limit`.
fn seen(subgroup: u32, place: u32, first: u32, limit: u32) -> vec4<f32> {
    let some = vec4<u32>(first, first + 1u, first + 2u, first + 3u) < vec4<u32>(limit);
    return select(vec4<f32>(LOWEST), bitcast<vec4<f32>>(scores[subgroup][place]), some);
}

@compute @workgroup_size(SIZE)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32) {
    let first = (grid.y - 1u - id.y) * ROWS;
    let pos = state[0];
    let g = id.x / (p.heads / p.kv_heads);
    let end = min(pos + min(first + ROWS, p.rows), p.context);
    for (var e = lid; e < ROWS * CHUNKS; e += SIZE) {
        let r = e / CHUNKS;
        let c = e % CHUNKS;
        let t = min(first + r, p.rows - 1u);
        let q = (t * (p.heads + 2u * p.kv_heads) + id.x) * HEAD_DIM;
        var turned = array<f32, 8>();
        for (var n = 0u; n < 8u; n++) {
            turned[n] = clamp(p.scale * rotate(q, c * 8u + n, pos + t), -65504.0, 65504.0); // as keys are
        }
        memory[r / 16u][r % 16u * WIDE + c] = eight(vec4<f32>(turned[0], turned[1], turned[2], turned[3]),
            vec4<f32>(turned[4], turned[5], turned[6], turned[7]));
    }
    workgroupBarrier();
    let q0 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup], 0u, WIDE);
    let q1 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup], 2u, WIDE);
    let q2 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup], 4u, WIDE);
    let q3 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup], 6u, WIDE);
    let q4 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup], AT4, WIDE);
    let q5 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup], AT5, WIDE);
    let q6 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup], AT6, WIDE);
    let q7 = subgroupMatrixLoad<Left, row_major>(&memory[subgroup], AT7, WIDE);
    var o0 = Sums();
    var o1 = Sums();
    var o2 = Sums();
    var o3 = Sums();
    var o4 = Sums();
    var o5 = Sums();
    var o6 = Sums();
    var o7 = Sums();
    let row = lid % 32u / 2u;
    let side = lid % 2u; // of a row's scores
    let place = row * 9u + side * 4u;
    let limit = min(pos + first + subgroup * 16u + row + 1u, end);
    var highest = LOWEST;
    var total = 0.0;
    for (var start = 0u; start < end; start += 32u) {
        workgroupBarrier();
        for (var n = 0u; n < 32u * CHUNKS / SIZE; n++) {
            let e = lid + n * SIZE;
            let s = e / CHUNKS;
            let c = e % CHUNKS;
            let source = (g * p.context + min(start + s, end - 1u)) * CHUNKS + c;
            memory[s / 16u][s % 16u * WIDE + c] = kcache[source];
            memory[s / 16u + 2u][s % 16u * WIDE + c] = select(vec4<u32>(), vcache[source], start + s < end);
        }
        workgroupBarrier();
        var s0 = Sums();
        var s1 = Sums();
        s0 = subgroupMatrixMultiplyAccumulate(q0, subgroupMatrixLoad<Right, col_major>(&memory[0], 0u, WIDE), s0);
        s1 = subgroupMatrixMultiplyAccumulate(q0, subgroupMatrixLoad<Right, col_major>(&memory[1], 0u, WIDE), s1);
        s0 = subgroupMatrixMultiplyAccumulate(q1, subgroupMatrixLoad<Right, col_major>(&memory[0], 2u, WIDE), s0);
        s1 = subgroupMatrixMultiplyAccumulate(q1, subgroupMatrixLoad<Right, col_major>(&memory[1], 2u, WIDE), s1);
        s0 = subgroupMatrixMultiplyAccumulate(q2, subgroupMatrixLoad<Right, col_major>(&memory[0], 4u, WIDE), s0);
        s1 = subgroupMatrixMultiplyAccumulate(q2, subgroupMatrixLoad<Right, col_major>(&memory[1], 4u, WIDE), s1);
        s0 = subgroupMatrixMultiplyAccumulate(q3, subgroupMatrixLoad<Right, col_major>(&memory[0], 6u, WIDE), s0);
        s1 = subgroupMatrixMultiplyAccumulate(q3, subgroupMatrixLoad<Right, col_major>(&memory[1], 6u, WIDE), s1);
        if HEAD_DIM > 64u {
            s0 = subgroupMatrixMultiplyAccumulate(q4, subgroupMatrixLoad<Right, col_major>(&memory[0], AT4, WIDE), s0);
            s1 = subgroupMatrixMultiplyAccumulate(q4, subgroupMatrixLoad<Right, col_major>(&memory[1], AT4, WIDE), s1);
            s0 = subgroupMatrixMultiplyAccumulate(q5, subgroupMatrixLoad<Right, col_major>(&memory[0], AT5, WIDE), s0);
            s1 = subgroupMatrixMultiplyAccumulate(q5, subgroupMatrixLoad<Right, col_major>(&memory[1], AT5, WIDE), s1);
        }
        if HEAD_DIM > 96u {
            s0 = subgroupMatrixMultiplyAccumulate(q6, subgroupMatrixLoad<Right, col_major>(&memory[0], AT6, WIDE), s0);
            s1 = subgroupMatrixMultiplyAccumulate(q6, subgroupMatrixLoad<Right, col_major>(&memory[1], AT6, WIDE), s1);
            s0 = subgroupMatrixMultiplyAccumulate(q7, subgroupMatrixLoad<Right, col_major>(&memory[0], AT7, WIDE), s0);
            s1 = subgroupMatrixMultiplyAccumulate(q7, subgroupMatrixLoad<Right, col_major>(&memory[1], AT7, WIDE), s1);
        }
        subgroupMatrixStore<row_major>(&scores[subgroup], 0u, s0, 9u);
        subgroupMatrixStore<row_major>(&scores[subgroup], 4u, s1, 9u);
        workgroupBarrier();

        let here = start + side * 16u;
        var v0 = seen(subgroup, place, here, limit);
        var v1 = seen(subgroup, place + 1u, here + 4u, limit);
        var v2 = seen(subgroup, place + 2u, here + 8u, limit);
        var v3 = seen(subgroup, place + 3u, here + 12u, limit);
        let four = max(max(v0, v1), max(v2, v3));
        var top = max(max(four.x, four.y), max(four.z, four.w));
        top = max(top, subgroupShuffleXor(top, 1u));
        let grows = top > highest + GROWTH;
        let base = select(highest, top, grows);
        let factor = exp(highest - base);
        if grows {
            grown = start;
        }
        highest = base;
        v0 = exp(v0 - base);
        v1 = exp(v1 - base);
        v2 = exp(v2 - base);
        v3 = exp(v3 - base);
        let sum = v0 + v1 + v2 + v3;
        total = total * factor + sum.x + sum.y + sum.z + sum.w;
        if workgroupUniformLoad(&grown) == start && start > 0u {
            subgroupMatrixStore<row_major>(&scores[subgroup], 0u, o0, 9u);
            subgroupMatrixStore<row_major>(&scores[subgroup], 4u, o1, 9u);
            shrink(subgroup, place, factor);
            o0 = subgroupMatrixLoad<Sums, row_major>(&scores[subgroup], 0u, 9u);
            o1 = subgroupMatrixLoad<Sums, row_major>(&scores[subgroup], 4u, 9u);
            workgroupBarrier();
            subgroupMatrixStore<row_major>(&scores[subgroup], 0u, o2, 9u);
            subgroupMatrixStore<row_major>(&scores[subgroup], 4u, o3, 9u);
            shrink(subgroup, place, factor);
            o2 = subgroupMatrixLoad<Sums, row_major>(&scores[subgroup], 0u, 9u);
            o3 = subgroupMatrixLoad<Sums, row_major>(&scores[subgroup], 4u, 9u);
            workgroupBarrier();
            if HEAD_DIM > 64u {
                subgroupMatrixStore<row_major>(&scores[subgroup], 0u, o4, 9u);
                subgroupMatrixStore<row_major>(&scores[subgroup], 4u, o5, 9u);
                shrink(subgroup, place, factor);
                o4 = subgroupMatrixLoad<Sums, row_major>(&scores[subgroup], 0u, 9u);
                o5 = subgroupMatrixLoad<Sums, row_major>(&scores[subgroup], 4u, 9u);
                workgroupBarrier();
            }
            if HEAD_DIM > 96u {
                subgroupMatrixStore<row_major>(&scores[subgroup], 0u, o6, 9u);
                subgroupMatrixStore<row_major>(&scores[subgroup], 4u, o7, 9u);
                shrink(subgroup, place, factor);
                o6 = subgroupMatrixLoad<Sums, row_major>(&scores[subgroup], 0u, 9u);
                o7 = subgroupMatrixLoad<Sums, row_major>(&scores[subgroup], 4u, 9u);
                workgroupBarrier();
            }
        }
        scores[subgroup][place] = eight(v0, v1);
        scores[subgroup][place + 1u] = eight(v2, v3);
        workgroupBarrier();
        let p0 = subgroupMatrixLoad<Left, row_major>(&scores[subgroup], 0u, 9u);
        let p1 = subgroupMatrixLoad<Left, row_major>(&scores[subgroup], 4u, 9u);
        o0 = subgroupMatrixMultiplyAccumulate(p0, subgroupMatrixLoad<Right, row_major>(&memory[2], 0u, WIDE), o0);
        o0 = subgroupMatrixMultiplyAccumulate(p1, subgroupMatrixLoad<Right, row_major>(&memory[3], 0u, WIDE), o0);
        o1 = subgroupMatrixMultiplyAccumulate(p0, subgroupMatrixLoad<Right, row_major>(&memory[2], 2u, WIDE), o1);
        o1 = subgroupMatrixMultiplyAccumulate(p1, subgroupMatrixLoad<Right, row_major>(&memory[3], 2u, WIDE), o1);
        o2 = subgroupMatrixMultiplyAccumulate(p0, subgroupMatrixLoad<Right, row_major>(&memory[2], 4u, WIDE), o2);
        o2 = subgroupMatrixMultiplyAccumulate(p1, subgroupMatrixLoad<Right, row_major>(&memory[3], 4u, WIDE), o2);
        o3 = subgroupMatrixMultiplyAccumulate(p0, subgroupMatrixLoad<Right, row_major>(&memory[2], 6u, WIDE), o3);
        o3 = subgroupMatrixMultiplyAccumulate(p1, subgroupMatrixLoad<Right, row_major>(&memory[3], 6u, WIDE), o3);
        if HEAD_DIM > 64u {
            o4 = subgroupMatrixMultiplyAccumulate(p0, subgroupMatrixLoad<Right, row_major>(&memory[2], AT4, WIDE), o4);
            o4 = subgroupMatrixMultiplyAccumulate(p1, subgroupMatrixLoad<Right, row_major>(&memory[3], AT4, WIDE), o4);
            o5 = subgroupMatrixMultiplyAccumulate(p0, subgroupMatrixLoad<Right, row_major>(&memory[2], AT5, WIDE), o5);
            o5 = subgroupMatrixMultiplyAccumulate(p1, subgroupMatrixLoad<Right, row_major>(&memory[3], AT5, WIDE), o5);
        }
        if HEAD_DIM > 96u {
            o6 = subgroupMatrixMultiplyAccumulate(p0, subgroupMatrixLoad<Right, row_major>(&memory[2], AT6, WIDE), o6);
            o6 = subgroupMatrixMultiplyAccumulate(p1, subgroupMatrixLoad<Right, row_major>(&memory[3], AT6, WIDE), o6);
            o7 = subgroupMatrixMultiplyAccumulate(p0, subgroupMatrixLoad<Right, row_major>(&memory[2], AT7, WIDE), o7);
            o7 = subgroupMatrixMultiplyAccumulate(p1, subgroupMatrixLoad<Right, row_major>(&memory[3], AT7, WIDE), o7);
        }
    }
    let factor = 1.0 / (total + subgroupShuffleXor(total, 1u));
    let t = first + subgroup * 16u + row;
    let at = (t * p.heads + id.x) * HEAD_DIM + side * 16u;
    workgroupBarrier();
    subgroupMatrixStore<row_major>(&scores[subgroup], 0u, o0, 9u);
    subgroupMatrixStore<row_major>(&scores[subgroup], 4u, o1, 9u);
    leave(subgroup, place, factor, t < p.rows, at + 0u);
    subgroupMatrixStore<row_major>(&scores[subgroup], 0u, o2, 9u);
    subgroupMatrixStore<row_major>(&scores[subgroup], 4u, o3, 9u);
    leave(subgroup, place, factor, t < p.rows, at + 32u);
    if HEAD_DIM > 64u {
        subgroupMatrixStore<row_major>(&scores[subgroup], 0u, o4, 9u);
        subgroupMatrixStore<row_major>(&scores[subgroup], 4u, o5, 9u);
        leave(subgroup, place, factor, t < p.rows, at + 64u);
    }
    if HEAD_DIM > 96u {
        subgroupMatrixStore<row_major>(&scores[subgroup], 0u, o6, 9u);
        subgroupMatrixStore<row_major>(&scores[subgroup], 4u, o7, 9u);
        leave(subgroup, place, factor, t < p.rows, at + 96u);
    }
}
