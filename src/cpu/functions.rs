//! Functions of numbers in `f32`, written so that a compiler makes vectors of them: without calls and
//! branches. Relative errors are at most 3e-7; what is no number stays none.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LOG2_E};

use crate::kernels::Function;

/// Added, it leaves the nearest whole number in the lowest bits.
const ROUNDER: f32 = 12_582_912.0;
/// ln 2 in few digits, so that products with small whole numbers are exact; and the rest.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `e^x`; of numbers whose result is not a normal number, that of the nearest whose is.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    let rest = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    // The beginning of the series: |rest| is at most ln 2 / 2.
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

/// What [`Function::Softcap`] makes of it.
#[inline(always)]
pub(super) fn softcap(x: f32, cap: f32) -> f32 {
    cap * (2.0 * sigmoid(2.0 * (x / cap)) - 1.0)
}

/// `y = f(y)`.
#[inline(always)]
pub(super) fn apply(function: Function, y: &mut [f32]) {
    match function {
        Function::Silu => y.iter_mut().for_each(|y| *y = silu(*y)),
        Function::Gelu => {
            let inner = 2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
            y.iter_mut().for_each(|y| *y *= sigmoid(inner * (*y + 0.044715 * *y * *y * *y)));
        }
        Function::ReluSquared => {
            y.iter_mut().for_each(|y| *y = if *y < 0.0 { 0.0 } else { *y * *y })
        }
        Function::Scale(scale) => y.iter_mut().for_each(|y| *y *= scale),
        Function::Softcap(cap) => y.iter_mut().for_each(|y| *y = softcap(*y, cap)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_e() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0 + 0.003;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 3e-7, "e^{x}: {found} instead of {expected}");
        }
        assert!(exp(f32::NAN).is_nan() && exp(-1e30) < 1e-37 && exp(1e30) > 1e38);
    }
}
