// x * Phi(x) (arXiv:1606.08415), with erf to 1.5e-7 (Abramowitz and Stegun 7.1.26); the limits are right up to
// infinity. For epilogues. ref: ops gelu.
fn gelu(x: f32) -> f32 {
  let z = min(abs(x), 14.0) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let erf = sign(x) * (1.0 - tail * exp(-z * z));
  return select(0.5 * x * (1.0 + erf), 0.0, x < -14.0);
}
