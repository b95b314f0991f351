// q4_1 in integers (formats/q4_1.wgsl says how it is stored).
struct Raw { q: vec4<u32>, s: u32 }

fn raw(g: u32) -> Raw { return Raw(w[g], w[p.blocks + (g >> 2u)][g & 3u]); }

fn product(r: Raw, g: u32, v: Part) -> f32 {
    let s = unpack2x16float(r.s);
    let low = dot16(r.q & vec4<u32>(0x0f0f0f0fu), v.h[0], v.l[0]);
    let high = dot16((r.q >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu), v.h[1], v.l[1]);
    return s.x * v.scale * (low + high) + s.y * v.sum;
}
