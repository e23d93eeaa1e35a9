// Activation function, chosen by FUNCTION. Mirrored by `ActivationFunction` in
// src/kernels/elementwise.rs.
#import lib/tanh
override FUNCTION: u32; // 0 silu, 1 gelu, 2 relu², 3 scale, 4 soft cap, 5 gelu of erf
override PARAMETER: f32; // the scale or the cap

// x / (1 + e^-y). Below -88 the exponential overflows in f32; the quotient is then -0, as it
// should be.
fn gated_by(x: f32, y: f32) -> f32 {
    return x / (1.0 + exp(-max(y, -88.0)));
}

// x · Φ(x): 1 - Φ(|x|) by 7.1.26 of Abramowitz & Stegun 1964, with an error below 1e-7.
fn gelu_of_erf(x: f32) -> f32 {
    let z = 0.70710678 * abs(x);
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let series = t * (0.254829592
        + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return max(x, 0.0) - 0.5 * abs(x) * series * exp(-z * z);
}

fn function_of(x: f32) -> f32 {
    switch FUNCTION {
        case 0u: {
            return gated_by(x, x);
        }
        case 1u: {
            return gated_by(x, 1.5957691216 * (x + 0.044715 * x * x * x));
        }
        case 2u: {
            return max(x, 0.0) * max(x, 0.0);
        }
        case 3u: {
            return PARAMETER * x;
        }
        case 5u: {
            return gelu_of_erf(x);
        }
        default: {
            return PARAMETER * accurate_tanh(x / PARAMETER);
        }
    }
}
