// Included. Products of block formats with x in integers: each 32 numbers of x become s (256 h + l), where h and l are
// signed bytes, so that their largest magnitude is 32512 s and they keep 16 bits. The dot products of h and l with the
// quants (dot4I8Packed) are exact. The formats are in int8/. Needs x, g: array<vec4<f32>>, K, WG, TILE and NORM.
const LANES: u32 = 32u;         // spec: 4u to 32u, invocations that are certainly in one subgroup
const GROUPS = K / 32u;
const HELD = min(GROUPS, TILE);
const SHARE = min(LANES, 8u); // lanes that load a group of x together
const QUADS = 8u / SHARE;
const TURNS = (HELD * SHARE + WG - 1u) / WG;

// For each group: 32 bytes h, 32 bytes l, then (s, the sum of x).
var<workgroup> xs: array<vec4<u32>, 5u * HELD>;
var<workgroup> team_squares: array<f32, WG / LANES>;

struct Part { h: array<vec4<u32>, 2>, l: array<vec4<u32>, 2>, scale: f32, sum: f32 }

// 256 (q . h) + q . l of 16 numbers.
fn dot16(q: vec4<u32>, h: vec4<u32>, l: vec4<u32>) -> f32 {
    return f32(256 * (dot4I8Packed(q.x, h.x) + dot4I8Packed(q.y, h.y) + dot4I8Packed(q.z, h.z) + dot4I8Packed(q.w, h.w))
        + dot4I8Packed(q.x, l.x) + dot4I8Packed(q.y, l.y) + dot4I8Packed(q.z, l.z) + dot4I8Packed(q.w, l.w));
}

fn team_sum(v: f32) -> f32 {
    var s = v + subgroupShuffleXor(v, 1u);
    s += subgroupShuffleXor(s, 2u);
    if LANES > 4u { s += subgroupShuffleXor(s, 4u); }
    if LANES > 8u { s += subgroupShuffleXor(s, 8u); }
    if LANES > 16u { s += subgroupShuffleXor(s, 16u); }
    return s;
}

// Loads the groups from `start` on to workgroup memory. Returns the sum of the squares of this invocation's numbers.
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

// 1 / sqrt(mean(x^2) + eps) from the sums of squares of all invocations.
fn inverse_root(squares: f32, lid: u32, eps: f32) -> f32 {
    let sum = team_sum(squares);
    if lid % LANES == 0u { team_squares[lid / LANES] = sum; }
    workgroupBarrier();
    var all = 0.0;
    for (var n = 0u; n < WG / LANES; n++) { all += team_squares[n]; }
    return inverseSqrt(all / f32(K) + eps);
}
