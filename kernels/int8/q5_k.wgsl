// q5_k in integers (formats/q5_k.wgsl says how it is stored).
struct Raw { a: vec4<u32>, b: vec4<u32>, fifth_a: vec4<u32>, fifth_b: vec4<u32>, s: vec4<u32> }

fn raw(g: u32) -> Raw {
    let fifth = p.blocks * 8u + (g >> 3u) * 2u;
    return Raw(w[(g >> 1u) * 2u], w[(g >> 1u) * 2u + 1u], w[fifth], w[fifth + 1u], w[p.blocks * 10u + (g >> 3u)]);
}

// (d * scale, dmin * min) of sub-block `g & 7`.
fn sub_block(s: vec4<u32>, g: u32) -> vec2<f32> {
    let at = vec3<u32>(s.y, s.z, s.w) >> vec3<u32>((g & 3u) * 8u);
    let first = at.xy & vec2<u32>(63u);
    let second = vec2<u32>((at.z & 15u) | ((at.x >> 2u) & 48u), ((at.z >> 4u) & 15u) | ((at.y >> 2u) & 48u));
    return unpack2x16float(s.x) * vec2<f32>(select(first, second, (g & 4u) != 0u));
}

fn quants(low: vec4<u32>, fifth: vec4<u32>, g: u32) -> vec4<u32> {
    return ((low >> vec4<u32>((g & 1u) * 4u)) & vec4<u32>(0x0f0f0f0fu))
        | (((fifth >> vec4<u32>(g & 7u)) & vec4<u32>(0x01010101u)) << vec4<u32>(4u));
}

fn product(r: Raw, g: u32, v: Part) -> f32 {
    let s = sub_block(r.s, g);
    let low = dot16(quants(r.a, r.fifth_a, g), v.h[0], v.l[0]);
    let high = dot16(quants(r.b, r.fifth_b, g), v.h[1], v.l[1]);
    return s.x * v.scale * (low + high) - s.y * v.sum;
}
