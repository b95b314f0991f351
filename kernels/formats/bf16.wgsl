// bf16: two weights a word, each the upper half of an f32.
fn halves(v: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(v.x << 16u, v.x & 0xffff0000u, v.y << 16u, v.y & 0xffff0000u));
}

fn weights32(g: u32) -> array<vec4<f32>, 8> {
    let a = w[g * 4u];
    let b = w[g * 4u + 1u];
    let c = w[g * 4u + 2u];
    let d = w[g * 4u + 3u];
    return array<vec4<f32>, 8>(halves(a.xy), halves(a.zw), halves(b.xy), halves(b.zw),
        halves(c.xy), halves(c.zw), halves(d.xy), halves(d.zw));
}

fn prepare(x: array<vec4<f32>, 8>) -> array<vec4<f32>, 8> {
    return x;
}

fn dot32(g: u32, x: array<vec4<f32>, 8>) -> f32 {
    return inner(weights32(g), x);
}
