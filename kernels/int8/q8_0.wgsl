// q8_0 in integers (formats/q8_0.wgsl says how it is stored).
struct Raw { a: vec4<u32>, b: vec4<u32>, d: u32 }

fn raw(g: u32) -> Raw {
    return Raw(w[g * 2u], w[g * 2u + 1u], w[p.blocks * 2u + (g >> 3u)][(g >> 1u) & 3u]);
}

fn product(r: Raw, g: u32, v: Part) -> f32 {
    let pair = unpack2x16float(r.d);
    let d = select(pair.x, pair.y, (g & 1u) == 1u);
    return d * v.scale * (dot16(r.a, v.h[0], v.l[0]) + dot16(r.b, v.h[1], v.l[1]));
}
