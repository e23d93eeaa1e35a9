// The hyperbolic tangent, right to a millionth of itself: what drivers have makes NaN of large
// numbers here and loses small ones to cancellation there.
fn accurate_tanh(x: f32) -> f32 {
    let square = x * x;
    if (square < 0.0625) {
        return x * (1.0 - square * (0.33333333 - square * (0.13333333 - square * 0.05396825)));
    }
    let decay = exp(-2.0 * abs(x));
    return sign(x) * (1.0 - decay) / (1.0 + decay);
}
