enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
// attention.wgsl for many rows by subgroup matrices (online softmax: Dao et al. 2022, arXiv:2205.14135): f16 products,
// f32 sums.
// A workgroup computes 16 * SUBGROUPS rows of one head, a subgroup 16 of them, in steps of KEYS positions. Scores leave
// their matrices through workgroup memory, where two invocations have a row; the sums of v stay in matrices, and take
// that way only where a row's maximum grows by more than GROWTH: exp(GROWTH) is well within f16.
// Workgroup memory is made of strips as in matmul_matrix.wgsl: 16 rows of 32 f16 or 16 f32, a row being 5 vectors.
// head_dim: HEAD_DIM, a multiple of 32. Bindings and shapes: attention.wgsl.
// grid: (heads, ceil(rows / (16 * SUBGROUPS)), 1), later rows first, as they take longer. ref: ops.py attention.
// pick: many rows, where 16 x 16 x 16 matrices are.
const HEAD_DIM: u32 = 64u;      // spec
const SUBGROUPS: u32 = 4u;      // spec: at most KEYS / 8
const KEYS: u32 = 32u;          // spec: a multiple of 32
// include: rope.wgsl

struct Params { rows: u32, heads: u32, kv_heads: u32, head_dim: u32, context: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> rope_table: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> kcache: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> vcache: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

const SIZE: u32 = 32u * SUBGROUPS;
const CHUNKS: u32 = HEAD_DIM / 8u;
const WIDE: u32 = HEAD_DIM / 32u;               // strips a row of q, k or v
const VALUES: u32 = KEYS / 16u * WIDE;      // where strips of v begin, after those of k
const SCORES: u32 = 2u * VALUES;            // where strips of the subgroups begin: scores, then their exponentials
const OWN: u32 = KEYS / 16u + KEYS / 32u;
const LOWEST: f32 = -3.4e38;
const GROWTH: f32 = 6.0;
var<workgroup> memory: array<array<vec4<u32>, 84>, SCORES + SUBGROUPS * OWN>;
var<workgroup> grown: u32; // the last step in which a maximum grew: all write the same

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse

@compute @workgroup_size(SIZE)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32) {
    let first = (grid.y - 1u - id.y) * 16u * SUBGROUPS;
    let pos = state[0];
    let g = id.x / (p.heads / p.kv_heads);
    let end = min(pos + min(first + 16u * SUBGROUPS, p.rows), p.context);
    for (var e = lid; e < 16u * SUBGROUPS * CHUNKS; e += SIZE) {
        let r = e / CHUNKS;
        let c = e % CHUNKS;
        let t = min(first + r, p.rows - 1u);
        let q = (t * (p.heads + 2u * p.kv_heads) + id.x) * HEAD_DIM;
        var pairs = vec4<u32>();
        for (var n = 0u; n < 4u; n++) {
            let i = c * 8u + 2u * n;
            let pair = vec2<f32>(rotate(q, i, pos + t, HEAD_DIM), rotate(q, i + 1u, pos + t, HEAD_DIM));
            pairs[n] = pack2x16float(p.scale * pair);
        }
        memory[r / 16u * WIDE + c / 4u][r % 16u * 5u + c % 4u] = pairs;
    }
    workgroupBarrier();
    var q = array<subgroup_matrix_left<f16, 16, 16>, 2u * WIDE>();
    for (var d = 0u; d < WIDE; d++) {
        let strip = subgroup * WIDE + d;
        q[2u * d] = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&memory[strip], 0u, 5u);
        q[2u * d + 1u] = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&memory[strip], 2u, 5u);
    }
    var sums = array<subgroup_matrix_result<f32, 16, 16>, 2u * WIDE>();
    let own = SCORES + subgroup * OWN;
    let row = lid % 32u / 2u;
    let side = lid % 2u; // of a row's scores
    let limit = min(pos + first + subgroup * 16u + row + 1u, end);
    var highest = LOWEST;
    var total = 0.0;
    for (var start = 0u; start < end; start += KEYS) {
        workgroupBarrier();
        for (var n = 0u; n < KEYS * CHUNKS / SIZE; n++) {
            let e = lid + n * SIZE;
            let s = e / CHUNKS;
            let c = e % CHUNKS;
            let strip = s / 16u * WIDE + c / 4u;
            let at = s % 16u * 5u + c % 4u;
            let source = (g * p.context + min(start + s, end - 1u)) * CHUNKS + c;
            memory[strip][at] = kcache[source];
            memory[VALUES + strip][at] = select(vec4<u32>(), vcache[source], start + s < end);
        }
        workgroupBarrier();
        var scores = array<subgroup_matrix_result<f32, 16, 16>, KEYS / 16u>();
        for (var d = 0u; d < WIDE; d++) {
            for (var j = 0u; j < KEYS / 16u; j++) {
                let strip = j * WIDE + d;
                let low = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&memory[strip], 0u, 5u);
                scores[j] = subgroupMatrixMultiplyAccumulate(q[2u * d], low, scores[j]);
                let high = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&memory[strip], 2u, 5u);
                scores[j] = subgroupMatrixMultiplyAccumulate(q[2u * d + 1u], high, scores[j]);
            }
        }
        for (var j = 0u; j < KEYS / 16u; j++) {
            subgroupMatrixStore<row_major>(&memory[own + j], 0u, scores[j], 5u);
        }
        workgroupBarrier();

        var v = array<vec4<f32>, KEYS / 8u>();
        var top = LOWEST;
        for (var n = 0u; n < KEYS / 8u; n++) {
            let i = side * (KEYS / 8u) + n;
            let score = bitcast<vec4<f32>>(memory[own + i / 4u][row * 5u + i % 4u]);
            let seen = vec4<u32>(start + i * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(limit);
            v[n] = select(vec4<f32>(LOWEST), score, seen);
            top = max(top, max(max(v[n].x, v[n].y), max(v[n].z, v[n].w)));
        }
        top = max(top, subgroupShuffleXor(top, 1u));
        let grows = top > highest + GROWTH;
        let base = select(highest, top, grows);
        let shrink = exp(highest - base);
        if grows {
            grown = start;
        }
        highest = base;
        total *= shrink;
        for (var n = 0u; n < KEYS / 8u; n += 2u) {
            let a = exp(v[n] - base);
            let b = exp(v[n + 1u] - base);
            let both = a + b;
            total += both.x + both.y + both.z + both.w;
            let i = side * (KEYS / 16u) + n / 2u;
            memory[own + KEYS / 16u + i / 4u][row * 5u + i % 4u] =
                vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
        }
        if workgroupUniformLoad(&grown) == start && start > 0u {
            for (var d = 0u; d < 2u * WIDE; d++) {
                subgroupMatrixStore<row_major>(&memory[own], 0u, sums[d], 5u);
                workgroupBarrier();
                for (var n = 0u; n < 2u; n++) {
                    let at = row * 5u + side * 2u + n;
                    memory[own][at] = bitcast<vec4<u32>>(bitcast<vec4<f32>>(memory[own][at]) * shrink);
                }
                workgroupBarrier();
                sums[d] = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, row_major>(&memory[own], 0u, 5u);
                workgroupBarrier();
            }
        }
        for (var j = 0u; j < KEYS / 32u; j++) {
            let strip = own + KEYS / 16u + j;
            let a = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&memory[strip], 0u, 5u);
            let b = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&memory[strip], 2u, 5u);
            for (var d = 0u; d < WIDE; d++) {
                let i = VALUES + 2u * j * WIDE + d;
                let k = i + WIDE;
                let low = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&memory[i], 0u, 5u);
                sums[2u * d] = subgroupMatrixMultiplyAccumulate(a, low, sums[2u * d]);
                let low2 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&memory[k], 0u, 5u);
                sums[2u * d] = subgroupMatrixMultiplyAccumulate(b, low2, sums[2u * d]);
                let high = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&memory[i], 2u, 5u);
                sums[2u * d + 1u] = subgroupMatrixMultiplyAccumulate(a, high, sums[2u * d + 1u]);
                let high2 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&memory[k], 2u, 5u);
                sums[2u * d + 1u] = subgroupMatrixMultiplyAccumulate(b, high2, sums[2u * d + 1u]);
            }
        }
    }
    let f = 1.0 / (total + subgroupShuffleXor(total, 1u));
    let t = first + subgroup * 16u + row;
    let out = (t * p.heads + id.x) * HEAD_DIM + side * 8u;
    for (var d = 0u; d < 2u * WIDE; d++) {
        workgroupBarrier();
        subgroupMatrixStore<row_major>(&memory[own], 0u, sums[d], 5u);
        workgroupBarrier();
        if t < p.rows {
            for (var n = 0u; n < 8u; n++) {
                let v = f * bitcast<f32>(memory[own][row * 5u + side * 2u + n / 4u][n % 4u]);
                y[out + d * 16u + n] = epilogue(v, out + d * 16u + n);
            }
        }
    }
}
