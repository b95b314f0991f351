// f16: two weights a word.
fn halves(v: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
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
