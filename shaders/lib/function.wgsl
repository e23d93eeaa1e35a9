// Activation function, chosen by FUNCTION. Mirrored by `ActivationFunction` in
// src/kernels/elementwise.rs.
#import lib/tanh
override FUNCTION: u32; // 0 silu, 1 gelu, 2 relu², 3 scale, 4 soft cap
override PARAMETER: f32; // the scale or the cap

// x / (1 + e^-y). Below -88 the exponential overflows in f32; the quotient is then -0, as it
// should be.
fn gated_by(x: f32, y: f32) -> f32 {
    return x / (1.0 + exp(-max(y, -88.0)));
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
        default: {
            return PARAMETER * accurate_tanh(x / PARAMETER);
        }
    }
}
