// x * sigmoid(x) (arXiv:1702.03118); exp never overflows, and the limits are right up to infinity. For epilogues.
// ref: ops silu.
fn silu(x: f32) -> f32 { return select(x / (1.0 + exp(-clamp(x, -88.0, 88.0))), 0.0, x < -88.0); }
