//! Mean of a step's rows: mean pooling of a text.

use super::{Activation, Binding, CpuMemory, KernelRules, Step};

/// `y[0] = Σ x[r] / rows`.
#[derive(Debug, Clone)]
pub struct MeanRows {
    /// Rows of the step, `[rows, width]`.
    pub x: Activation,
    /// Their mean, `[1, width]`.
    pub y: Activation,
}

impl KernelRules for MeanRows {
    const NAME: &'static str = "mean_rows";
    const SHADER: &'static str = include_wgsl!("../../shaders/mean_rows.wgsl");

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
            for (column, y) in y[..self.y.width as usize].iter_mut().enumerate() {
                let elements = (0..step.rows).map(|row| memory.row(&self.x, row)[column]);
                *y = (elements.map(f64::from).sum::<f64>() / f64::from(step.rows)) as f32;
            }
        });
    }
}
