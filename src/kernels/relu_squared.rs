//! The activation of a feed-forward layer without a gate: `max(x, 0)²` (So et al. 2021).

use super::{Activation, Binding, CpuMemory, KernelRules, Step};

/// `y = max(x, 0)²`.
#[derive(Debug, Clone)]
pub struct ReluSquared {
    /// `[rows, width]`.
    pub x: Activation,
    /// `[rows, width]`.
    pub y: Activation,
}

impl KernelRules for ReluSquared {
    const NAME: &'static str = "relu_squared";
    const SHADER: &'static str = include_str!("../../shaders/relu_squared.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.x.buffer), Binding::write(self.y.buffer)]
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
                for (y, x) in y[self.y.start(row)..].iter_mut().zip(memory.row(&self.x, row)) {
                    *y = x.max(0.0) * x.max(0.0);
                }
            }
        });
    }
}
