// 1 / (1 + exp(-x)); exp never overflows, and the limits are right up to infinity. For epilogues. ref: ops sigmoid.
fn sigmoid(x: f32) -> f32 { return select(1.0 / (1.0 + exp(-clamp(x, -88.0, 88.0))), 0.0, x < -88.0); }
