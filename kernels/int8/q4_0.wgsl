// q4_0 in integers (formats/q4_0.wgsl says how it is stored).
struct Raw { q: vec4<u32>, d: u32 }

fn raw(g: u32) -> Raw { return Raw(w[g], w[p.blocks + (g >> 3u)][(g >> 1u) & 3u]); }

fn product(r: Raw, g: u32, v: Part) -> f32 {
    let pair = unpack2x16float(r.d);
    let low = dot16(r.q & vec4<u32>(0x0f0f0f0fu), v.h[0], v.l[0]);
    let high = dot16((r.q >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu), v.h[1], v.l[1]);
    return select(pair.x, pair.y, (g & 1u) == 1u) * (v.scale * (low + high) - 8.0 * v.sum);
}
