// Products in f16 of numbers that f16 does not hold: its largest is 65504, where its sums end, too. A kernel does a tile at
// scale 1 and keeps the largest magnitudes of x and W. If f16 had no room for them, it does the tile again with what was
// too large divided by 64, which costs no bits, and so on. Tiles in range pay one maximum and one product a number.
const STEP: f32 = 0.015625;
const LEAST: f32 = 1e-30; // what is too large at this scale is infinite

fn largest(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

// The largest magnitudes of 32 weights, in four columns.
fn largest32(v: array<vec4<f32>, 8>) -> vec4<f32> {
    return max(max(max(abs(v[0]), abs(v[1])), max(abs(v[2]), abs(v[3]))),
        max(max(abs(v[4]), abs(v[5])), max(abs(v[6]), abs(v[7]))));
}

// The scales of x and W for another try, the same ones if there is to be none. over: which were too large.
fn smaller(scale: vec2<f32>, over: vec2<bool>) -> vec2<f32> {
    return select(scale, scale * STEP, over & (scale > vec2<f32>(LEAST)));
}
