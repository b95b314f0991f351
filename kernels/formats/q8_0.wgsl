// q8_0: weight = d * q, q signed 8 bits. Planes: 32 bytes of q; f16 d.
fn bytes(v: u32) -> vec4<f32> {
    return vec4<f32>((vec4<i32>(bitcast<i32>(v)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

fn quants32(g: u32) -> array<vec4<f32>, 8> {
    let a = w[g * 2u];
    let b = w[g * 2u + 1u];
    return array<vec4<f32>, 8>(bytes(a.x), bytes(a.y), bytes(a.z), bytes(a.w),
        bytes(b.x), bytes(b.y), bytes(b.z), bytes(b.w));
}

fn scale(g: u32) -> f32 {
    let pair = unpack2x16float(w[p.blocks * 2u + (g >> 3u)][(g >> 1u) & 3u]);
    return select(pair.x, pair.y, (g & 1u) == 1u);
}

fn weights32(g: u32) -> array<vec4<f32>, 8> {
    let q = quants32(g);
    let d = scale(g);
    return array<vec4<f32>, 8>(q[0] * d, q[1] * d, q[2] * d, q[3] * d, q[4] * d, q[5] * d, q[6] * d, q[7] * d);
}

fn dot32(g: u32, x: array<vec4<f32>, 8>, sum: f32) -> f32 {
    return scale(g) * inner(quants32(g), x);
}
