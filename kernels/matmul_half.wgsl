enable f16;
// linear: y[t, j] = x[t, :] . W[j, :] for many rows of x, in f16: sums of 8 products, then f32 (range.wgsl: numbers
// that f16 does not hold).
//   GATED: activated(gate) * up, where gate is row j and up row n + j of W.
// x: [rows, k] f32, w: planes of FORMAT -> y[t * y_stride + y_offset + j] for j < n. k % 32 == 0.
// A workgroup computes a tile of 64 rows by 64 rows of W (GATED: 32 of gate and 32 of up, 16 by 16 in turn) in steps of
// 64 of k: each invocation dequantises 32 weights and loads 8 vectors of x, then adds up 8 by 4 outputs.
// A tile is stored as 16 times 64 vectors, where vector 64 q + (r ^ q % 8) holds columns 4q..4q+3 of row r, so that
// neighbours cause no bank conflicts.
// grid: G = ceil(n / 64), GATED: ceil(n / 32), as (min(G, 65535), ceil(G / 65535), ceil(rows / 64)).
// ref: ops linear. pick: rows > 4, with f16 but without subgroup matrices.
const GATED: bool = false;      // spec: activated(gate) * up

struct Params { rows: u32, n: u32, k: u32, blocks: u32, y_stride: u32, y_offset: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

const ROOM = vec2<f32>(1000.0, 8.0); // for x and for W, so that f16 has room for sums of 8 products
var<workgroup> xs: array<vec4<f16>, 1024>;
var<workgroup> ws: array<vec4<f16>, 1024>;

fn epilogue(v: f32, i: u32) -> f32 { return v; } // fuse
// include: range.wgsl
// include: formats/inner.wgsl
// include: formats/f32.wgsl // spec: FORMAT
// include: gates/silu.wgsl // spec: GATE

struct Columns { a: vec4<f16>, b: vec4<f16>, c: vec4<f16>, d: vec4<f16> }
struct Pairs { a: vec2<f16>, b: vec2<f16>, c: vec2<f16>, d: vec2<f16> }

fn added(s: Pairs, v: vec4<f16>, w: Columns) -> Pairs {
    return Pairs(fma(v.zw, w.a.zw, fma(v.xy, w.a.xy, s.a)), fma(v.zw, w.b.zw, fma(v.xy, w.b.xy, s.b)),
        fma(v.zw, w.c.zw, fma(v.xy, w.c.xy, s.c)), fma(v.zw, w.d.zw, fma(v.xy, w.d.xy, s.d)));
}

fn sums(s: Pairs) -> vec4<f32> {
    return vec4<f32>(vec2<f32>(s.a).x, vec2<f32>(s.b).x, vec2<f32>(s.c).x, vec2<f32>(s.d).x)
        + vec4<f32>(vec2<f32>(s.a).y, vec2<f32>(s.b).y, vec2<f32>(s.c).y, vec2<f32>(s.d).y);
}

// The row of W that is row r of a workgroup's, within bounds.
fn row_of(first: u32, r: u32) -> u32 {
    if GATED {
        return min(first + r / 32u * 16u + r % 16u, p.n - 1u) + select(0u, p.n, r / 16u % 2u == 1u);
    }
    return min(first + r, p.n - 1u);
}

fn store(v: f32, t: u32, j: u32) {
    if j < p.n {
        let i = t * p.y_stride + p.y_offset + j;
        y[i] = epilogue(v, i);
    }
}

fn store4(v: vec4<f32>, t: u32, j: u32) {
    if t < p.rows {
        if GATED {
            store(activated(v.x) * v.y, t, j);
            store(activated(v.z) * v.w, t, j + 16u);
        } else {
            store(v.x, t, j);
            store(v.y, t, j + 16u);
            store(v.z, t, j + 32u);
            store(v.w, t, j + 48u);
        }
    }
}

@compute @workgroup_size(128)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wg: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
    let first_t = wg.z * 64u;
    let first_j = (wg.y * grid.x + wg.x) * select(64u, 32u, GATED);
    let groups = p.k / 32u;
    let q = lid % 16u;              // loads this vector of a step of x, for rows row, row + 8, ...
    let row = lid / 16u;
    let slab = lid % 2u;            // and this group of one row of W
    let w_row = row_of(first_j, lid / 2u) * groups;
    let at = lid / 16u; // rows at, at + 8, ..., columns column, column + 16, ... of the tile
    let column = lid % 16u;
    var s0: vec4<f32>;
    var s1: vec4<f32>;
    var s2: vec4<f32>;
    var s3: vec4<f32>;
    var s4: vec4<f32>;
    var s5: vec4<f32>;
    var s6: vec4<f32>;
    var s7: vec4<f32>;
    var scale = vec2<f32>(1.0);
    loop {
        s0 = vec4<f32>();
        s1 = vec4<f32>();
        s2 = vec4<f32>();
        s3 = vec4<f32>();
        s4 = vec4<f32>();
        s5 = vec4<f32>();
        s6 = vec4<f32>();
        s7 = vec4<f32>();
        var top_x = vec4<f32>();
        var top_w = vec4<f32>();
        for (var i = 0u; i < groups; i += 2u) {
            let vector = min(i + q / 8u, groups - 1u) * 8u + q % 8u;
            for (var n = 0u; n < 64u; n += 8u) {
                let r = row + n;
                let u = x[min(first_t + r, p.rows - 1u) * groups * 8u + vector];
                top_x = max(top_x, abs(u));
                xs[q * 64u + (r ^ (q % 8u))] = vec4<f16>(u * scale.x);
            }
            let v = weights32(w_row + min(i + slab, groups - 1u));
            top_w = max(top_w, largest32(v));
            let some = select(0.0, scale.y, i + slab < groups);
            let r = lid / 2u;
            let s = slab * 512u;
            ws[s + r] = vec4<f16>(v[0] * some);
            ws[s + 64u + (r ^ 1u)] = vec4<f16>(v[1] * some);
            ws[s + 128u + (r ^ 2u)] = vec4<f16>(v[2] * some);
            ws[s + 192u + (r ^ 3u)] = vec4<f16>(v[3] * some);
            ws[s + 256u + (r ^ 4u)] = vec4<f16>(v[4] * some);
            ws[s + 320u + (r ^ 5u)] = vec4<f16>(v[5] * some);
            ws[s + 384u + (r ^ 6u)] = vec4<f16>(v[6] * some);
            ws[s + 448u + (r ^ 7u)] = vec4<f16>(v[7] * some);
            workgroupBarrier();
            for (var start = 0u; start < 1024u; start += 256u) {
                var h0 = Pairs();
                var h1 = Pairs();
                var h2 = Pairs();
                var h3 = Pairs();
                var h4 = Pairs();
                var h5 = Pairs();
                var h6 = Pairs();
                var h7 = Pairs();
                for (var n = 0u; n < 4u; n++) {
                    let turned = start / 64u % 8u + n;
                    let c = start + n * 64u + (column ^ turned);
                    let t = start + n * 64u + (at ^ turned);
                    let columns = Columns(ws[c], ws[c + 16u], ws[c + 32u], ws[c + 48u]);
                    h0 = added(h0, xs[t], columns);
                    h1 = added(h1, xs[t + 8u], columns);
                    h2 = added(h2, xs[t + 16u], columns);
                    h3 = added(h3, xs[t + 24u], columns);
                    h4 = added(h4, xs[t + 32u], columns);
                    h5 = added(h5, xs[t + 40u], columns);
                    h6 = added(h6, xs[t + 48u], columns);
                    h7 = added(h7, xs[t + 56u], columns);
                }
                s0 += sums(h0);
                s1 += sums(h1);
                s2 += sums(h2);
                s3 += sums(h3);
                s4 += sums(h4);
                s5 += sums(h5);
                s6 += sums(h6);
                s7 += sums(h7);
            }
            workgroupBarrier();
        }
        let over = vec2<f32>(largest(top_x), largest(top_w)) * scale >= ROOM;
        if lid == 0u { // the tile's memory is not needed any more
            xs[0] = vec4<f16>();
        }
        workgroupBarrier();
        if any(over) { // if several invocations write, one remains; the next try finds what it does not know
            xs[0] = vec4<f16>(select(vec2<f16>(), vec2<f16>(1.0h), over), 0.0h, 0.0h);
        }
        let next = smaller(scale, workgroupUniformLoad(&xs[0]).xy > vec2<f16>());
        if all(next == scale) {
            break;
        }
        scale = next;
    }
    let factor = 1.0 / scale.x / scale.y;
    let t = first_t + at;
    let j = first_j + column;
    store4(s0 * factor, t, j);
    store4(s1 * factor, t + 8u, j);
    store4(s2 * factor, t + 16u, j);
    store4(s3 * factor, t + 24u, j);
    store4(s4 * factor, t + 32u, j);
    store4(s5 * factor, t + 40u, j);
    store4(s6 * factor, t + 48u, j);
    store4(s7 * factor, t + 56u, j);
}
