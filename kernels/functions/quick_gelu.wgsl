// x * sigmoid(1.702 x); exp never overflows, and the limits are right up to infinity. For epilogues. ref: ops
// quick_gelu.
fn quick_gelu(x: f32) -> f32 { return select(x / (1.0 + exp(-1.702 * clamp(x, -51.0, 51.0))), 0.0, x < -51.0); }
