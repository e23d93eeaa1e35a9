// Hyperbolic tangent with a relative error below 1e-6. The built-in tanh of some drivers returns
// NaN for large numbers, that of others loses small ones to cancellation.
fn accurate_tanh(x: f32) -> f32 {
    let square = x * x;
    if (square < 0.0625) {
        return x * (1.0 - square * (0.33333333 - square * (0.13333333 - square * 0.05396825)));
    }
    let decay = exp(-2.0 * abs(x));
    return sign(x) * (1.0 - decay) / (1.0 + decay);
}
