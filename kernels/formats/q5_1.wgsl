// q5_1: weight = d * q + m, q 5 bits. Planes: 16 bytes of q's low 4 bits (low nibbles: weights 0..15, high: 16..31);
// 32 fifth bits; f16 d, m.
// A byte is converted where it stands in its word, because software adapters have no vector shifts: the result times
// PLACE is its value.
const PLACE = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);

fn bytes(v: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(bitcast<i32>(v)) & vec4<i32>(0xff, 0xff00, 0xff0000, 0x7f000000));
}

fn fifth(bits: u32) -> u32 { // 4 bits, spread to bit 4 of 4 bytes
    return ((bits & 1u) << 4u) | ((bits & 2u) << 11u) | ((bits & 4u) << 18u) | ((bits & 8u) << 25u);
}

fn quants32(g: u32) -> array<vec4<f32>, 8> {
    let low = w[g] & vec4<u32>(0x0f0f0f0fu);
    let high = (w[g] >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu);
    let h = w[p.blocks + (g >> 2u)][g & 3u];
    return array<vec4<f32>, 8>(bytes(low.x | fifth(h)), bytes(low.y | fifth(h >> 4u)),
        bytes(low.z | fifth(h >> 8u)), bytes(low.w | fifth(h >> 12u)),
        bytes(high.x | fifth(h >> 16u)), bytes(high.y | fifth(h >> 20u)),
        bytes(high.z | fifth(h >> 24u)), bytes(high.w | fifth(h >> 28u)));
}

fn scale(g: u32) -> vec2<f32> {
    return unpack2x16float(w[p.blocks + ((p.blocks + 3u) >> 2u) + (g >> 2u)][g & 3u]);
}

fn weights32(g: u32) -> array<vec4<f32>, 8> {
    let q = quants32(g);
    let s = scale(g);
    let d = PLACE * s.x;
    return array<vec4<f32>, 8>(
        q[0] * d + s.y, q[1] * d + s.y, q[2] * d + s.y, q[3] * d + s.y,
        q[4] * d + s.y, q[5] * d + s.y, q[6] * d + s.y, q[7] * d + s.y);
}

struct Prepared { x: array<vec4<f32>, 8>, sum: f32 }
fn prepare(x: array<vec4<f32>, 8>) -> Prepared {
    let all = x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7];
    return Prepared(array<vec4<f32>, 8>(x[0] * PLACE, x[1] * PLACE, x[2] * PLACE, x[3] * PLACE,
        x[4] * PLACE, x[5] * PLACE, x[6] * PLACE, x[7] * PLACE), all.x + all.y + all.z + all.w);
}

fn dot32(g: u32, v: Prepared) -> f32 {
    let s = scale(g);
    return s.x * inner(quants32(g), v.x) + s.y * v.sum;
}
