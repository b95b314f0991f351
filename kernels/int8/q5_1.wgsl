// q5_1 in integers (formats/q5_1.wgsl says how it is stored).
struct Raw { q: vec4<u32>, fifth: u32, s: u32 }

fn raw(g: u32) -> Raw {
    let fifths = p.blocks + ((p.blocks + 3u) >> 2u);
    return Raw(w[g], w[p.blocks + (g >> 2u)][g & 3u], w[fifths + (g >> 2u)][g & 3u]);
}

// Bits 0..15, four of them to bit 4 of the bytes of each word.
fn spread(bits: u32) -> vec4<u32> {
    let four = vec4<u32>(bits, bits >> 4u, bits >> 8u, bits >> 12u) & vec4<u32>(15u);
    return ((four * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}

fn product(r: Raw, g: u32, v: Part) -> f32 {
    let s = unpack2x16float(r.s);
    let low = dot16((r.q & vec4<u32>(0x0f0f0f0fu)) | spread(r.fifth), v.h[0], v.l[0]);
    let high = dot16(((r.q >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu)) | spread(r.fifth >> 16u), v.h[1], v.l[1]);
    return s.x * v.scale * (low + high) + s.y * v.sum;
}
