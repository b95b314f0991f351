// q6_k in integers (formats/q6_k.wgsl says how it is stored).
struct Raw { a: vec4<u32>, b: vec4<u32>, high_a: vec4<u32>, high_b: vec4<u32>, scales: u32, d: u32 }

fn raw(g: u32) -> Raw {
    let low = (g >> 2u) * 4u + (g & 1u) * 2u;
    let high = p.blocks * 8u + (g >> 2u) * 2u;
    let block = g >> 3u;
    return Raw(w[low], w[low + 1u], w[high], w[high + 1u], w[p.blocks * 12u + block][(g & 7u) >> 1u],
        w[p.blocks * 13u + (block >> 3u)][(block >> 1u) & 3u]);
}

fn quants(low: vec4<u32>, high: vec4<u32>, g: u32) -> vec4<u32> {
    let q = ((low >> vec4<u32>((g & 2u) * 2u)) & vec4<u32>(0x0f0f0f0fu))
        | (((high >> vec4<u32>((g & 3u) * 2u)) & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
    return ((q | vec4<u32>(0x80808080u)) - vec4<u32>(0x20202020u)) ^ vec4<u32>(0x80808080u); // q - 32 in each byte
}

fn product(r: Raw, g: u32, v: Part) -> f32 {
    let pair = unpack2x16float(r.d);
    let two = bitcast<i32>(r.scales >> ((g & 1u) * 16u));
    let low = f32((two << 24u) >> 24u) * dot16(quants(r.a, r.high_a, g), v.h[0], v.l[0]);
    let high = f32((two << 16u) >> 24u) * dot16(quants(r.b, r.high_b, g), v.h[1], v.l[1]);
    return select(pair.x, pair.y, ((g >> 3u) & 1u) == 1u) * v.scale * (low + high);
}
