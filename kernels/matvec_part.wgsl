// The shared part of matvec.wgsl and matvec_subgroup.wgsl: 4 rows of W times a part of one row of x, and their outputs.
const OUTPUTS = select(4u, 2u, GATED); // of 4 rows of W

struct Part { sums: vec4<f32>, squares: f32 }

// The groups lane, lane + lanes, ... of x[t, :] times those of the rows of W for the outputs first..first+OUTPUTS-1.
// normed(v, i), which the including file defines, normalises group i before.
fn partial_sums(t: u32, first: u32, lane: u32, lanes: u32) -> Part {
    let groups = p.k / 32u;
    let last = vec4<u32>(p.n - 1u);
    let plain = min(first + vec4<u32>(0u, 1u, 2u, 3u), last);
    let gated = min(first + vec4<u32>(0u, 1u, 0u, 1u), last) + vec4<u32>(0u, 0u, p.n, p.n);
    let rows = select(plain, gated, GATED) * groups;
    var part = Part();
    for (var i = lane; i < groups; i += lanes) {
        let at = (t * groups + i) * 8u;
        var v = array<vec4<f32>, 8>(x[at], x[at + 1u], x[at + 2u], x[at + 3u],
            x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]);
        if NORM {
            part.squares += inner(v, v);
            let c = i * 8u;
            v = array<vec4<f32>, 8>(v[0] * g[c], v[1] * g[c + 1u], v[2] * g[c + 2u], v[3] * g[c + 3u],
                v[4] * g[c + 4u], v[5] * g[c + 5u], v[6] * g[c + 6u], v[7] * g[c + 7u]);
        }
        let xs = prepare(normed(v, i));
        part.sums += vec4<f32>(dot32(rows.x + i, xs), dot32(rows.y + i, xs),
            dot32(rows.z + i, xs), dot32(rows.w + i, xs));
    }
    return part;
}

// Writes output first + lane, for lane < OUTPUTS, from the complete sums.
fn store(sums: vec4<f32>, squares: f32, t: u32, first: u32, lane: u32) {
    let j = first + lane;
    if j >= p.n { return; }
    let r = select(1.0, inverseSqrt(squares / f32(p.k) + p.eps), NORM);
    var v = sums[lane] * r;
    if GATED {
        v = activated(v) * (sums[lane + 2u] * r);
    }
    let i = t * p.y_stride + p.y_offset + j;
    y[i] = epilogue(v, i);
}
