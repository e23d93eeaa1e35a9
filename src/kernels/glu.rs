//! Gated linear unit of a feed-forward layer (Shazeer 2020): SwiGLU, GeGLU and the like.

use super::{Activation, ActivationFunction, Binding, CpuMemory, KernelRules, Step};

/// `y = f(gate) · up`.
#[derive(Debug, Clone)]
pub struct Glu {
    /// The gate, `[rows, width]`.
    pub gate: Activation,
    /// The gated values, `[rows, width]`.
    pub up: Activation,
    /// Outputs, `[rows, width]`.
    pub y: Activation,
    /// The function `f` of the gate.
    pub function: ActivationFunction,
}

impl KernelRules for Glu {
    const NAME: &'static str = "glu";
    const SHADER: &'static str = include_str!("../../shaders/glu.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.gate.buffer),
            Binding::read(self.up.buffer),
            Binding::write(self.y.buffer),
        ]
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
                let (gate, up) = (memory.row(&self.gate, row), memory.row(&self.up, row));
                for ((y, gate), up) in y[self.y.start(row)..].iter_mut().zip(gate).zip(up) {
                    *y = (self.function.of(f64::from(*gate)) * f64::from(*up)) as f32;
                }
            }
        });
    }
}
