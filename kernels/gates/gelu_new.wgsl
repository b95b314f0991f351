// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (arXiv:1606.08415) of a gate, as x times the sigmoid of twice that;
// exp never overflows, and the limits are right up to infinity. For GATED kernels. ref: ops gate.
fn activated(x: f32) -> f32 {
  let c = clamp(x, -10.0, 10.0);
  return select(x / (1.0 + exp(-1.5957691216 * (c + 0.044715 * c * c * c))), 0.0, x < -10.0);
}
