// q6_k: weight = d * scale * (q - 32), q 6 bits, scale signed 8 bits for 16 weights, blocks of 256 in two halves of 4
// groups of 32. Planes: 128 bytes of q's low 4 bits (64 a half: low nibbles of both 32 are groups 0 and 1, high ones 2
// and 3); 64 bytes of its high 2 bits (32 a half: bits 2n, 2n+1 are group n); 16 scales; f16 d.
// A byte is converted where it stands in its word, because software adapters have no vector shifts: the result times
// PLACE is its value.
const PLACE = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);

fn bytes(v: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(bitcast<i32>(v)) & vec4<i32>(0xff, 0xff00, 0xff0000, 0x7f000000));
}

fn quants32(g: u32) -> array<vec4<f32>, 8> {
    let low = (g >> 2u) * 4u + (g & 1u) * 2u;
    let high = p.blocks * 8u + (g >> 2u) * 2u;
    let low_shift = vec4<u32>((g & 2u) * 2u);
    let high_shift = vec4<u32>((g & 3u) * 2u);
    let a = ((w[low] >> low_shift) & vec4<u32>(0x0f0f0f0fu))
        | (((w[high] >> high_shift) & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
    let b = ((w[low + 1u] >> low_shift) & vec4<u32>(0x0f0f0f0fu))
        | (((w[high + 1u] >> high_shift) & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
    return array<vec4<f32>, 8>(bytes(a.x), bytes(a.y), bytes(a.z), bytes(a.w),
        bytes(b.x), bytes(b.y), bytes(b.z), bytes(b.w));
}

// d * scale of the first and the second 16 weights.
fn scale(g: u32) -> vec2<f32> {
    let block = g >> 3u;
    let pair = unpack2x16float(w[p.blocks * 13u + (block >> 3u)][(block >> 1u) & 3u]);
    let d = select(pair.x, pair.y, (block & 1u) == 1u);
    let two = bitcast<i32>(w[p.blocks * 12u + block][(g & 7u) >> 1u] >> ((g & 1u) * 16u));
    return d * vec2<f32>(f32((two << 24u) >> 24u), f32((two << 16u) >> 24u));
}

fn weights32(g: u32) -> array<vec4<f32>, 8> {
    let q = quants32(g);
    let s = scale(g);
    return array<vec4<f32>, 8>(
        (q[0] * PLACE - 32.0) * s.x, (q[1] * PLACE - 32.0) * s.x,
        (q[2] * PLACE - 32.0) * s.x, (q[3] * PLACE - 32.0) * s.x,
        (q[4] * PLACE - 32.0) * s.y, (q[5] * PLACE - 32.0) * s.y,
        (q[6] * PLACE - 32.0) * s.y, (q[7] * PLACE - 32.0) * s.y);
}

struct Prepared { x: array<vec4<f32>, 8>, sums: vec2<f32> }
fn prepare(x: array<vec4<f32>, 8>) -> Prepared {
    let a = x[0] + x[1] + x[2] + x[3];
    let b = x[4] + x[5] + x[6] + x[7];
    return Prepared(array<vec4<f32>, 8>(x[0] * PLACE, x[1] * PLACE, x[2] * PLACE, x[3] * PLACE,
        x[4] * PLACE, x[5] * PLACE, x[6] * PLACE, x[7] * PLACE),
        vec2<f32>(a.x + a.y + a.z + a.w, b.x + b.y + b.z + b.w));
}

fn dot32(g: u32, v: Prepared) -> f32 {
    let q = quants32(g);
    let a = dot(q[0], v.x[0]) + dot(q[1], v.x[1]) + dot(q[2], v.x[2]) + dot(q[3], v.x[3]);
    let b = dot(q[4], v.x[4]) + dot(q[5], v.x[5]) + dot(q[6], v.x[6]) + dot(q[7], v.x[7]);
    return dot(scale(g), vec2<f32>(a, b) - 32.0 * v.sums);
}
