// q4_1: weight = d * q + m, q 4 bits. Planes: 16 bytes of q (low nibbles are weights 0..15, high ones 16..31); f16 d, m.
fn nibbles(v: u32) -> vec4<f32> {
    return vec4<f32>((vec4<i32>(bitcast<i32>(v)) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<i32>(15));
}

fn quants32(g: u32) -> array<vec4<f32>, 8> {
    let q = w[g];
    return array<vec4<f32>, 8>(nibbles(q.x), nibbles(q.y), nibbles(q.z), nibbles(q.w),
        nibbles(q.x >> 4u), nibbles(q.y >> 4u), nibbles(q.z >> 4u), nibbles(q.w >> 4u));
}

fn scale(g: u32) -> vec2<f32> {
    return unpack2x16float(w[p.blocks + (g >> 2u)][g & 3u]);
}

fn weights32(g: u32) -> array<vec4<f32>, 8> {
    let q = quants32(g);
    let s = scale(g);
    return array<vec4<f32>, 8>(q[0] * s.x + s.y, q[1] * s.x + s.y, q[2] * s.x + s.y, q[3] * s.x + s.y,
        q[4] * s.x + s.y, q[5] * s.x + s.y, q[6] * s.x + s.y, q[7] * s.x + s.y);
}

fn dot32(g: u32, x: array<vec4<f32>, 8>, sum: f32) -> f32 {
    let s = scale(g);
    return s.x * inner(quants32(g), x) + s.y * sum;
}
