enable subgroups;
// linear: y[t, j] = x[t, :] . W[j, :] over weights of a block format, in integers.
//   Each 32 numbers of x become s (256 h + l) with h, l signed bytes: their largest magnitude is 32512 s, so they keep
//   16 bits. The dot products of h and l with the quants (dot4I8Packed) are exact.
//   NORM: with x[t, :] * g / sqrt(mean(x[t, :]^2) + eps) in the place of x[t, :], the root applied at the end.
//   GATED: silu(gate) * up, where gate is row j and up row n + j of W.
// x: [rows, k] f32, g: [k] f32, w: planes of FORMAT -> y[t * y_stride + y_offset + j] for j < n. k % 32 == 0.
// LANES neighbouring invocations share OUTPUTS outputs and take groups of 32 columns in turn; the weights of the next
// group are under way meanwhile, those of the first while x is brought to workgroup memory, TILE groups at a time.
// grid: G = ceil(n / (OUTPUTS * WG / LANES)) as (min(G, 65535), ceil(G / 65535), rows). pick: rows <= 4, a block format,
// subgroups of at least 8 invocations.
const K: u32 = 64u;             // spec: k
const WG: u32 = 256u;           // spec: invocations a workgroup
const LANES: u32 = 32u;         // spec: 4u to 32u, invocations that are certainly in one subgroup
const OUTPUTS: u32 = 1u;        // spec: outputs of LANES invocations
const TILE: u32 = 192u;         // spec: groups of x in workgroup memory, 80 bytes each
const NORM: bool = false;       // spec: x is RMS-normed with gain g
const GATED: bool = false;      // spec: silu(gate) * up

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

const GROUPS = K / 32u;
const HELD = min(GROUPS, TILE);
const ROWS = select(OUTPUTS, 2u * OUTPUTS, GATED);
const SHARE = min(LANES, 8u); // lanes that bring a group of x
const QUADS = 8u / SHARE;
const TURNS = (HELD * SHARE + WG - 1u) / WG;

// Of each group: 32 bytes h, 32 bytes l, (s, the sum of x).
var<workgroup> xs: array<vec4<u32>, 5u * HELD>;
var<workgroup> team_squares: array<f32, WG / LANES>;

struct Part { h: array<vec4<u32>, 2>, l: array<vec4<u32>, 2>, scale: f32, sum: f32 }

// 256 (q . h) + q . l of 16 numbers.
fn dot16(q: vec4<u32>, h: vec4<u32>, l: vec4<u32>) -> f32 {
    return f32(256 * (dot4I8Packed(q.x, h.x) + dot4I8Packed(q.y, h.y) + dot4I8Packed(q.z, h.z) + dot4I8Packed(q.w, h.w))
        + dot4I8Packed(q.x, l.x) + dot4I8Packed(q.y, l.y) + dot4I8Packed(q.z, l.z) + dot4I8Packed(q.w, l.w));
}

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: int8/q4_1.wgsl // spec: FORMAT

fn team_sum(v: f32) -> f32 {
    var s = v + subgroupShuffleXor(v, 1u);
    s += subgroupShuffleXor(s, 2u);
    if LANES > 4u { s += subgroupShuffleXor(s, 4u); }
    if LANES > 8u { s += subgroupShuffleXor(s, 8u); }
    if LANES > 16u { s += subgroupShuffleXor(s, 16u); }
    return s;
}

// Brings the groups from `start` on to workgroup memory. Gives the sum of the squares of this invocation's numbers.
fn stage(t: u32, start: u32, lid: u32) -> f32 {
    var squares = 0.0;
    for (var turn = 0u; turn < TURNS; turn++) {
        let i = lid + turn * WG;
        let group = start + i / SHARE;
        let inside = i < HELD * SHARE && group < GROUPS;
        var v = array<vec4<f32>, QUADS>();
        var most = 0.0;
        var sum = 0.0;
        for (var n = 0u; n < QUADS; n++) {
            let c = group * 8u + i % SHARE + n * SHARE;
            if inside { v[n] = x[t * GROUPS * 8u + c]; }
            if NORM {
                squares += dot(v[n], v[n]);
                if inside { v[n] *= g[c]; }
            }
            let m = max(abs(v[n].xy), abs(v[n].zw));
            most = max(most, max(m.x, m.y));
            sum += v[n].x + v[n].y + v[n].z + v[n].w;
        }
        most = max(most, subgroupShuffleXor(most, 1u));
        most = max(most, subgroupShuffleXor(most, 2u));
        sum += subgroupShuffleXor(sum, 1u);
        sum += subgroupShuffleXor(sum, 2u);
        if SHARE > 4u {
            most = max(most, subgroupShuffleXor(most, 4u));
            sum += subgroupShuffleXor(sum, 4u);
        }
        if inside {
            let inverse = 32512.0 / max(most, 1e-30);
            let at = (group - start) * 5u;
            for (var n = 0u; n < QUADS; n++) {
                let e = i % SHARE + n * SHARE;
                let fixed = vec4<i32>(round(v[n] * inverse));
                let high = (fixed + 128) >> vec4<u32>(8u);
                xs[at + e / 4u][e % 4u] = pack4xI8(high);
                xs[at + 2u + e / 4u][e % 4u] = pack4xI8(fixed - 256 * high);
            }
            if i % SHARE == 0u { xs[at + 4u] = vec4<u32>(bitcast<u32>(most / 32512.0), bitcast<u32>(sum), 0u, 0u); }
        }
    }
    return squares;
}

fn part(at: u32) -> Part {
    let i = at * 5u;
    let more = bitcast<vec2<f32>>(xs[i + 4u].xy);
    return Part(array<vec4<u32>, 2>(xs[i], xs[i + 1u]), array<vec4<u32>, 2>(xs[i + 2u], xs[i + 3u]), more.x, more.y);
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
    let t = wg.z;
    let first = ((wg.y * grid.x + wg.x) * (WG / LANES) + lid / LANES) * OUTPUTS;
    var rows = array<u32, ROWS>();
    for (var r = 0u; r < ROWS; r++) {
        rows[r] = (min(first + r % OUTPUTS, p.n - 1u) + select(0u, p.n, r >= OUTPUTS)) * GROUPS;
    }
    var i = lid % LANES;
    var weights = array<Raw, ROWS>();
    for (var r = 0u; r < ROWS; r++) { weights[r] = raw(rows[r] + min(i, GROUPS - 1u)); }
    var sums = array<f32, ROWS>();
    var squares = 0.0;
    for (var start = 0u; start < GROUPS; start += HELD) {
        if start > 0u { workgroupBarrier(); }
        squares += stage(t, start, lid);
        workgroupBarrier();
        while i < min(start + HELD, GROUPS) {
            let v = part(i - start);
            for (var r = 0u; r < ROWS; r++) { sums[r] += product(weights[r], rows[r] + i, v); }
            i += LANES;
            if i < GROUPS {
                for (var r = 0u; r < ROWS; r++) { weights[r] = raw(rows[r] + i); }
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) { sums[r] = team_sum(sums[r]); }
    var scale = 1.0;
    if NORM {
        squares = team_sum(squares);
        if lid % LANES == 0u { team_squares[lid / LANES] = squares; }
        workgroupBarrier();
        squares = 0.0;
        for (var n = 0u; n < WG / LANES; n++) { squares += team_squares[n]; }
        scale = inverseSqrt(squares / f32(K) + p.eps);
    }
    for (var r = 0u; r < OUTPUTS; r++) {
        if lid % LANES == r && first + r < p.n {
            var v = sums[r] * scale;
            if GATED {
                v = v / (1.0 + exp(min(-v, 80.0))) * (sums[ROWS / 2u + r] * scale); // exp never overflows
            }
            let to = t * p.y_stride + p.y_offset + first + r;
            y[to] = epilogue(v, to);
        }
    }
}
