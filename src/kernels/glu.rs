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
    const SHADER: &'static str = include_wgsl!("../../shaders/glu.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.gate.buffer),
            Binding::read(self.up.buffer),
            Binding::write(self.y.buffer),
        ]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        self.y.constants().into_iter().chain(self.function.constants()).collect()
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        self.y.workgroups(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.write_rows(&self.y, step, |memory, row, y| {
            let (gate, up) = (memory.row(&self.gate, row), memory.row(&self.up, row));
            for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                *y = (self.function.of(f64::from(*gate)) * f64::from(*up)) as f32;
            }
        });
    }
}
