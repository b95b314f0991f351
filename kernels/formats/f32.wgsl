// f32: 32 weights are 8 vectors, as in the file.
fn weights32(g: u32) -> array<vec4<f32>, 8> {
    let v = g * 8u;
    return array<vec4<f32>, 8>(
        bitcast<vec4<f32>>(w[v]), bitcast<vec4<f32>>(w[v + 1u]), bitcast<vec4<f32>>(w[v + 2u]),
        bitcast<vec4<f32>>(w[v + 3u]), bitcast<vec4<f32>>(w[v + 4u]), bitcast<vec4<f32>>(w[v + 5u]),
        bitcast<vec4<f32>>(w[v + 6u]), bitcast<vec4<f32>>(w[v + 7u]));
}

fn prepare(x: array<vec4<f32>, 8>) -> array<vec4<f32>, 8> {
    return x;
}

fn dot32(g: u32, x: array<vec4<f32>, 8>) -> f32 {
    return inner(weights32(g), x);
}
