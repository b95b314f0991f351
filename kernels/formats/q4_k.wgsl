// q4_k: weight = d * scale * q - dmin * min, q 4 bits, 8 sub-blocks of 32 a block of 256. Planes: 128 bytes of q (32
// for two sub-blocks: low and high nibbles); 16 bytes of scales.
// A byte is converted where it stands in its word, because software adapters have no vector shifts: the result times
// PLACE is its value.
const PLACE = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);

fn bytes(v: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(bitcast<i32>(v)) & vec4<i32>(0xff, 0xff00, 0xff0000, 0x7f000000));
}

fn quants32(g: u32) -> array<vec4<f32>, 8> {
    let shift = vec4<u32>((g & 1u) * 4u);
    let a = (w[(g >> 1u) * 2u] >> shift) & vec4<u32>(0x0f0f0f0fu);
    let b = (w[(g >> 1u) * 2u + 1u] >> shift) & vec4<u32>(0x0f0f0f0fu);
    return array<vec4<f32>, 8>(bytes(a.x), bytes(a.y), bytes(a.z), bytes(a.w),
        bytes(b.x), bytes(b.y), bytes(b.z), bytes(b.w));
}

// (d * scale, dmin * min) of sub-block `g & 7` from the 16 bytes of block g >> 3: f16 d, dmin; 8 scales and 8 mins of 6
// bits: those of 0..3 are the low 6 bits of bytes 0..3 and 4..7, those of 4..7 the nibbles of bytes 8..11 with the top
// 2 bits of bytes 0..7 above them.
fn scale(g: u32) -> vec2<f32> {
    let s = w[p.blocks * 8u + (g >> 3u)];
    let shift = (g & 3u) * 8u;
    let a = s.y >> shift;
    let b = s.z >> shift;
    let c = s.w >> shift;
    let first = vec2<u32>(a & 63u, b & 63u);
    let second = vec2<u32>((c & 15u) | ((a >> 2u) & 48u), ((c >> 4u) & 15u) | ((b >> 2u) & 48u));
    return unpack2x16float(s.x) * vec2<f32>(select(first, second, (g & 4u) != 0u));
}

fn weights32(g: u32) -> array<vec4<f32>, 8> {
    let q = quants32(g);
    let s = scale(g);
    let d = PLACE * s.x;
    return array<vec4<f32>, 8>(
        q[0] * d - s.y, q[1] * d - s.y, q[2] * d - s.y, q[3] * d - s.y,
        q[4] * d - s.y, q[5] * d - s.y, q[6] * d - s.y, q[7] * d - s.y);
}

struct Prepared { x: array<vec4<f32>, 8>, sum: f32 }
fn prepare(x: array<vec4<f32>, 8>) -> Prepared {
    let all = x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7];
    return Prepared(array<vec4<f32>, 8>(x[0] * PLACE, x[1] * PLACE, x[2] * PLACE, x[3] * PLACE,
        x[4] * PLACE, x[5] * PLACE, x[6] * PLACE, x[7] * PLACE), all.x + all.y + all.z + all.w);
}

fn dot32(g: u32, v: Prepared) -> f32 {
    let s = scale(g);
    return s.x * inner(quants32(g), v.x) - s.y * v.sum;
}
