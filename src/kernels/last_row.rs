//! Copy of a step's last row, the only one of a prompt whose logits are needed.

use super::{Activation, Binding, CpuMemory, KernelRules, Step};

/// `y[0] = x[rows - 1]`.
#[derive(Debug, Clone)]
pub struct LastRow {
    /// Rows of the step, `[rows, width]`.
    pub x: Activation,
    /// The last row, `[1, width]`.
    pub y: Activation,
}

impl KernelRules for LastRow {
    const NAME: &'static str = "last_row";
    const SHADER: &'static str = include_wgsl!("../../shaders/last_row.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.x.buffer), Binding::write(self.y.buffer)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        self.x.constants().to_vec()
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        self.y.workgroups(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.y.buffer, |memory, y| {
            y[..self.y.width as usize].copy_from_slice(memory.row(&self.x, step.rows - 1));
        });
    }
}
