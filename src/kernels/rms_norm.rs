//! Root-mean-square norm (Zhang & Sennrich 2019), the weight applied in f32.

use super::{Activation, Binding, Buffer, CpuMemory, KernelRules, Step};

/// `y = x · rsqrt(mean(x²) + epsilon) · weight`, each part of a row by its own mean.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    /// `[rows, width]`.
    pub x: Activation,
    /// `[width]`, or as long as a part where all parts have the same weights.
    pub weight: Buffer,
    /// `[rows, width]`.
    pub y: Activation,
    /// Equal parts of a row; divides `width`.
    pub parts: u32,
    /// Whether all parts have the same weights.
    pub same_weights: bool,
    /// Keeps the root away from zero.
    pub epsilon: f32,
}

impl KernelRules for RmsNorm {
    const NAME: &'static str = "rms_norm";
    const SHADER: &'static str = include_str!("../../shaders/rms_norm.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.x.buffer),
            Binding::read(self.weight),
            Binding::write(self.y.buffer),
        ]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let width = self.y.width / self.parts;
        vec![
            ("WIDTH", width.into()),
            ("STRIDE", self.y.stride.into()),
            ("EPSILON", self.epsilon.into()),
            ("WEIGHT_STEP", if self.same_weights { 0.0 } else { width.into() }),
        ]
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.y.rows.count(step.rows), self.parts, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.write_rows(&self.y, step, |memory, row, y| self.row(memory, row, y));
    }
}

impl RmsNorm {
    /// A row of what it means.
    pub(crate) fn row(&self, memory: &CpuMemory, row: u32, y: &mut [f32]) {
        let width = (self.y.width / self.parts) as usize;
        let parts = memory.row(&self.x, row).chunks_exact(width);
        let parts = parts.zip(memory.read(self.weight).chunks_exact(width).cycle());
        for ((x, weight), y) in parts.zip(y.chunks_exact_mut(width)) {
            let squares: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            let scale = 1.0 / (squares / width as f64 + f64::from(self.epsilon)).sqrt();
            for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
                *y = (f64::from(*x) * scale * f64::from(*weight)) as f32;
            }
        }
    }
}
