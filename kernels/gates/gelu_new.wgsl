// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (arXiv:1606.08415) of a gate, as x times the sigmoid of twice that;
// exp never overflows. For GATED kernels. ref: ops gate.
fn activated(x: f32) -> f32 { return x / (1.0 + exp(min(-1.5957691216 * (x + 0.044715 * x * x * x), 80.0))); }
