//! The gated activation of a feed-forward layer: `y = f(gate) · up` (Shazeer 2020).

use super::{Activation, Binding, CpuMemory, Function, KernelRules, Step};

/// `y = f(gate) · up`.
#[derive(Debug, Clone)]
pub struct GatedActivation {
    /// The gate, `[rows, width]`.
    pub gate: Activation,
    /// What is gated, `[rows, width]`.
    pub up: Activation,
    /// The product, `[rows, width]`.
    pub y: Activation,
    /// `f`.
    pub function: Function,
}

impl KernelRules for GatedActivation {
    const NAME: &'static str = "gated_activation";
    const SHADER: &'static str = include_str!("../../shaders/gated_activation.wgsl");

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
