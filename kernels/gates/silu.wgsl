// x * sigmoid(x) (arXiv:1702.03118) of a gate; exp never overflows. For GATED kernels. ref: ops gate.
fn activated(x: f32) -> f32 { return x / (1.0 + exp(min(-x, 80.0))); }
