//! Activation functions, and the kernel that applies one element by element.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::{Activation, Binding, CpuMemory, KernelRules, Step};

/// Function of one element. Mirrored in `shaders/lib/function.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActivationFunction {
    /// `x / (1 + e^-x)`.
    Silu,
    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))` (Hendrycks & Gimpel 2016).
    Gelu,
    /// `x · Φ(x)` with the normal distribution function Φ (Hendrycks & Gimpel 2016).
    GeluErf,
    /// `max(x, 0)²`.
    ReluSquared,
    /// `s · x`.
    Scale(f32),
    /// `c · tanh(x / c)`, bounded by `c` (Gemma Team 2024).
    Softcap(f32),
}

impl ActivationFunction {
    /// Returns `f(x)` in the precision of CPU references.
    pub(super) fn of(self, x: f64) -> f64 {
        match self {
            ActivationFunction::Silu => x / (1.0 + (-x).exp()),
            ActivationFunction::Gelu => {
                let inner = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
                x / 2.0 * (1.0 + (inner * (x + 0.044715 * x * x * x)).tanh())
            }
            ActivationFunction::GeluErf => x / 2.0 * (1.0 + erf(x * FRAC_1_SQRT_2)),
            ActivationFunction::ReluSquared => x.max(0.0) * x.max(0.0),
            ActivationFunction::Scale(scale) => f64::from(scale) * x,
            ActivationFunction::Softcap(cap) => f64::from(cap) * (x / f64::from(cap)).tanh(),
        }
    }

    /// Values of the `override`s of `lib/function`.
    pub(super) fn constants(self) -> [(&'static str, f64); 2] {
        let (function, parameter) = match self {
            ActivationFunction::Silu => (0.0, 0.0),
            ActivationFunction::Gelu => (1.0, 0.0),
            ActivationFunction::ReluSquared => (2.0, 0.0),
            ActivationFunction::Scale(scale) => (3.0, scale.into()),
            ActivationFunction::Softcap(cap) => (4.0, cap.into()),
            ActivationFunction::GeluErf => (5.0, 0.0),
        };
        [("FUNCTION", function), ("PARAMETER", parameter)]
    }
}

/// Error function, by its series with positive terms: `2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!!`.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut divisor) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        divisor += 2.0;
        term *= 2.0 * x * x / divisor;
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// `y = f(x)`.
#[derive(Debug, Clone)]
pub struct Elementwise {
    /// Inputs, `[rows, width]`.
    pub x: Activation,
    /// Outputs, `[rows, width]`.
    pub y: Activation,
    /// The function `f`.
    pub function: ActivationFunction,
}

impl KernelRules for Elementwise {
    const NAME: &'static str = "elementwise";
    const SHADER: &'static str = include_wgsl!("../../shaders/elementwise.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.x.buffer), Binding::write(self.y.buffer)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let x_stride = [("X_STRIDE", self.x.stride.into())];
        let constants = self.y.constants().into_iter().chain(x_stride);
        constants.chain(self.function.constants()).collect()
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        self.y.workgroups(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.write_rows(&self.y, step, |memory, row, y| {
            for (y, x) in y.iter_mut().zip(memory.row(&self.x, row)) {
                *y = self.function.of(f64::from(*x)) as f32;
            }
        });
    }
}
