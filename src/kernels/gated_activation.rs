//! The gated activation of a feed-forward layer: `y = silu(gate) · up` (SwiGLU).

use super::{Activation, Binding, CpuMemory, KernelRules, Step};

/// `y = silu(gate) · up`, with `silu(x) = x / (1 + e^-x)`.
#[derive(Debug, Clone)]
pub struct GatedActivation {
    /// The gate, `[rows, width]`.
    pub gate: Activation,
    /// What is gated, `[rows, width]`.
    pub up: Activation,
    /// The product, `[rows, width]`.
    pub y: Activation,
}

impl KernelRules for GatedActivation {
    const NAME: &'static str = "gated_activation";
    const SHADER: &'static str = include_str!("../../shaders/gated_activation.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.gate.buffer), Binding::read(self.up.buffer), Binding::write(self.y.buffer)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("WIDTH", self.y.width.into()), ("STRIDE", self.y.stride.into())]
    }

    fn workgroups(&self, step_rows: u32) -> [u32; 3] {
        [self.y.width.div_ceil(64), self.y.rows.count(step_rows), 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.y.buffer, |memory, y| {
            for row in 0..self.y.rows.count(step.rows) {
                let (gate, up) = (memory.row(&self.gate, row), memory.row(&self.up, row));
                for ((y, gate), up) in y[self.y.start(row)..].iter_mut().zip(gate).zip(up) {
                    let gate = f64::from(*gate);
                    *y = (gate / (1.0 + (-gate).exp()) * f64::from(*up)) as f32;
                }
            }
        });
    }
}
