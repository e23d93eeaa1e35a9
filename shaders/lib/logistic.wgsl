// σ(x) = 1 / (1 + e^-x). The exponential overflows for x below -88; the bound keeps it finite.
fn logistic(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(-max(x, -88.0)));
}
