// q4_1: weight = d * q + m, q 4 bits. Planes: 16 bytes of q (low nibbles: weights 0..15, high: 16..31); f16 d, m.
// A nibble is converted where it stands in its word, because software adapters have no vector shifts: the result times
// LOW or HIGH is its value. The top one of a word is made signed, q - 8, hence TOP.
const LOW = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
const HIGH = vec4<f32>(0x1p-4, 0x1p-12, 0x1p-20, 0x1p-28);
const TOP = vec4<f32>(0.0, 0.0, 0.0, 8.0);

fn lows(v: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(bitcast<i32>(v)) & vec4<i32>(0xf, 0xf00, 0xf0000, 0xf000000));
}

fn highs(v: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(bitcast<i32>(v ^ 0x80000000u)) & vec4<i32>(0xf0, 0xf000, 0xf00000, -0x10000000));
}

fn quants32(g: u32) -> array<vec4<f32>, 8> {
    let q = w[g];
    return array<vec4<f32>, 8>(lows(q.x), lows(q.y), lows(q.z), lows(q.w),
        highs(q.x), highs(q.y), highs(q.z), highs(q.w));
}

fn scale(g: u32) -> vec2<f32> {
    return unpack2x16float(w[p.blocks + (g >> 2u)][g & 3u]);
}

fn weights32(g: u32) -> array<vec4<f32>, 8> {
    let q = quants32(g);
    let s = scale(g);
    let low = LOW * s.x;
    return array<vec4<f32>, 8>(q[0] * low + s.y, q[1] * low + s.y, q[2] * low + s.y, q[3] * low + s.y,
        (q[4] * HIGH + TOP) * s.x + s.y, (q[5] * HIGH + TOP) * s.x + s.y,
        (q[6] * HIGH + TOP) * s.x + s.y, (q[7] * HIGH + TOP) * s.x + s.y);
}

struct Prepared { x: array<vec4<f32>, 8>, sum: f32, top: f32 }
fn prepare(x: array<vec4<f32>, 8>) -> Prepared {
    let high = x[4] + x[5] + x[6] + x[7];
    let all = x[0] + x[1] + x[2] + x[3] + high;
    return Prepared(array<vec4<f32>, 8>(x[0] * LOW, x[1] * LOW, x[2] * LOW, x[3] * LOW,
        x[4] * HIGH, x[5] * HIGH, x[6] * HIGH, x[7] * HIGH), all.x + all.y + all.z + all.w, 8.0 * high.w);
}

fn dot32(g: u32, v: Prepared) -> f32 {
    let s = scale(g);
    return s.x * (inner(quants32(g), v.x) + v.top) + s.y * v.sum;
}
