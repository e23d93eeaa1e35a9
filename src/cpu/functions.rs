//! Activation functions in f32, without calls and branches so that loops over them vectorize.
//! Relative errors are at most 3e-7 unless stated; NaN stays NaN.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LOG2_E};

use crate::kernels::ActivationFunction;

/// 1.5 · 2^23: adding it rounds to the nearest integer, which is then in the lowest bits.
pub(super) const ROUNDER: f32 = 12_582_912.0;
/// ln 2 in two parts (Cody & Waite): products of the first with small integers are exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `e^x`, with `x` clamped to where the result is a normal number.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    let rest = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    // Taylor polynomial: |rest| is at most ln 2 / 2.
    let mut sum = 1.0 / 5040.0;
    for divisor in [720.0, 120.0, 24.0, 6.0, 2.0, 1.0f32] {
        sum = sum * rest + 1.0 / divisor;
    }
    sum = sum * rest + 1.0;
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32);
    sum * f32::from_bits((exponent.wrapping_add(127) as u32) << 23)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x · sigmoid(x)`.
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// [`ActivationFunction::Softcap`]: `cap · tanh(x / cap)`.
#[inline(always)]
pub(super) fn softcap(x: f32, cap: f32) -> f32 {
    cap * (2.0 * sigmoid(2.0 * (x / cap)) - 1.0)
}

/// [`ActivationFunction::GeluErf`], as `lib/function.wgsl` computes it: errors below 1e-7.
#[inline(always)]
fn gelu_erf(x: f32) -> f32 {
    const SERIES: [f32; 4] = [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let z = FRAC_1_SQRT_2 * x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = t * SERIES.into_iter().fold(1.061_405_4, |sum, term| sum * t + term);
    let positive = if x < 0.0 { 0.0 } else { x };
    positive - 0.5 * x.abs() * series * exp(-z * z)
}

/// Applies an activation function in place.
#[inline(always)]
pub(super) fn apply(function: ActivationFunction, y: &mut [f32]) {
    match function {
        ActivationFunction::Silu => y.iter_mut().for_each(|y| *y = silu(*y)),
        ActivationFunction::Gelu => {
            let inner = 2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
            y.iter_mut().for_each(|y| *y *= sigmoid(inner * (*y + 0.044715 * *y * *y * *y)));
        }
        ActivationFunction::GeluErf => y.iter_mut().for_each(|y| *y = gelu_erf(*y)),
        ActivationFunction::ReluSquared => {
            y.iter_mut().for_each(|y| *y = if *y < 0.0 { 0.0 } else { *y * *y })
        }
        ActivationFunction::Scale(scale) => y.iter_mut().for_each(|y| *y *= scale),
        ActivationFunction::Softcap(cap) => y.iter_mut().for_each(|y| *y = softcap(*y, cap)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0 + 0.003;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 3e-7, "e^{x}: {found} instead of {expected}");
        }
        assert!(exp(f32::NAN).is_nan() && exp(-1e30) < 1e-37 && exp(1e30) > 1e38);
    }
}
