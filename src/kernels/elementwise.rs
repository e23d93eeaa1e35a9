//! A function of each element: `y = f(x)`.

use super::{Activation, Binding, CpuMemory, KernelRules, Step};

/// A function of one number. Mirrored in `shaders/lib/function.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// `x / (1 + e^-x)`.
    Silu,
    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))` (Hendrycks & Gimpel 2016).
    Gelu,
    /// `max(x, 0)²`.
    ReluSquared,
    /// `s · x`.
    Scale(f32),
    /// `c · tanh(x / c)`: never past `c`.
    Softcap(f32),
}

impl Function {
    /// Its value, in the precision of meanings.
    pub(super) fn of(self, x: f64) -> f64 {
        match self {
            Function::Silu => x / (1.0 + (-x).exp()),
            Function::Gelu => {
                let inner = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
                x / 2.0 * (1.0 + (inner * (x + 0.044715 * x * x * x)).tanh())
            }
            Function::ReluSquared => x.max(0.0) * x.max(0.0),
            Function::Scale(scale) => f64::from(scale) * x,
            Function::Softcap(cap) => f64::from(cap) * (x / f64::from(cap)).tanh(),
        }
    }

    /// Values of the `override`s of `lib/function`.
    pub(super) fn constants(self) -> [(&'static str, f64); 2] {
        let (function, parameter) = match self {
            Function::Silu => (0.0, 0.0),
            Function::Gelu => (1.0, 0.0),
            Function::ReluSquared => (2.0, 0.0),
            Function::Scale(scale) => (3.0, scale.into()),
            Function::Softcap(cap) => (4.0, cap.into()),
        };
        [("FUNCTION", function), ("PARAMETER", parameter)]
    }
}

/// `y = f(x)`.
#[derive(Debug, Clone)]
pub struct Elementwise {
    /// `[rows, width]`.
    pub x: Activation,
    /// `[rows, width]`.
    pub y: Activation,
    /// `f`.
    pub function: Function,
}

impl KernelRules for Elementwise {
    const NAME: &'static str = "elementwise";
    const SHADER: &'static str = include_str!("../../shaders/elementwise.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.x.buffer), Binding::write(self.y.buffer)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = vec![("WIDTH", self.y.width.into()), ("STRIDE", self.y.stride.into())];
        constants.extend(self.function.constants());
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.y.width.div_ceil(64), self.y.rows.count(step.rows), 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.y.buffer, |memory, y| {
            for row in 0..self.y.rows.count(step.rows) {
                for (y, x) in y[self.y.start(row)..].iter_mut().zip(memory.row(&self.x, row)) {
                    *y = self.function.of(f64::from(*x)) as f32;
                }
            }
        });
    }
}
