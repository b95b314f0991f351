// q8_0: weight = d * q, q signed 8 bits. Planes: 32 bytes of q; f16 d.
// A byte is converted where it stands in its word, because software adapters have no vector shifts: the result times
// PLACE is its value. The three lower ones of a word are made unsigned, q + 128, hence BIAS.
const PLACE = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
const BIAS = vec4<f32>(128.0, 128.0, 128.0, 0.0);

fn bytes(v: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(bitcast<i32>(v ^ 0x808080u)) & vec4<i32>(0xff, 0xff00, 0xff0000, -0x1000000));
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
    return array<vec4<f32>, 8>((q[0] * PLACE - BIAS) * d, (q[1] * PLACE - BIAS) * d,
        (q[2] * PLACE - BIAS) * d, (q[3] * PLACE - BIAS) * d, (q[4] * PLACE - BIAS) * d,
        (q[5] * PLACE - BIAS) * d, (q[6] * PLACE - BIAS) * d, (q[7] * PLACE - BIAS) * d);
}

struct Prepared { x: array<vec4<f32>, 8>, bias: f32 }
fn prepare(x: array<vec4<f32>, 8>) -> Prepared {
    let all = x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7];
    return Prepared(array<vec4<f32>, 8>(x[0] * PLACE, x[1] * PLACE, x[2] * PLACE, x[3] * PLACE,
        x[4] * PLACE, x[5] * PLACE, x[6] * PLACE, x[7] * PLACE), dot(all, BIAS));
}

fn dot32(g: u32, v: Prepared) -> f32 {
    return scale(g) * (inner(quants32(g), v.x) - v.bias);
}
