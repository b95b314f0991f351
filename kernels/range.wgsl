// Products in f16 of numbers beyond f16, whose largest is 65504, also for sums. A kernel computes a tile at scale 1 and
// keeps the largest magnitudes of x and W. If these are too large for f16, it computes the tile again with that operand
// divided by 64, which loses no bits, and so on. Tiles in range cost one maximum and one product a number more.
const STEP: f32 = 0.015625;
const LEAST: f32 = 1e-30; // numbers that are too large at this scale are infinite

fn largest(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

// The largest magnitudes of 32 weights, one for each of four columns.
fn largest32(v: array<vec4<f32>, 8>) -> vec4<f32> {
    return max(max(max(abs(v[0]), abs(v[1])), max(abs(v[2]), abs(v[3]))),
        max(max(abs(v[4]), abs(v[5])), max(abs(v[6]), abs(v[7]))));
}

// The scales of x and W for another try, or the same ones if no further try helps. over: which were too large.
fn smaller(scale: vec2<f32>, over: vec2<bool>) -> vec2<f32> {
    return select(scale, scale * STEP, over & (scale > vec2<f32>(LEAST)));
}
