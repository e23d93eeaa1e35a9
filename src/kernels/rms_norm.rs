//! Root-mean-square norm (Zhang & Sennrich 2019), computed in `f32`.

use super::norms::{rms_scale, sum_of_squares};
use super::{Activation, Binding, Buffer, CpuMemory, Import, KernelRules, PartialNorm, Step};

/// `y = x · rsqrt(mean(x²) + epsilon) · weight + residual`, over each part of a row by itself.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    /// `[rows, width]`.
    pub x: Activation,
    /// `[width]`; `[head_dim]` if the parts are heads that share it.
    pub weight: Buffer,
    /// `[rows, width]`.
    pub y: Activation,
    /// Equal parts of a row, each normed by itself; divides `width`.
    pub parts: u32,
    /// True if the parts are heads that share one weight.
    pub weight_shared_by_heads: bool,
    /// Added to the mean of squares before its root.
    pub epsilon: f32,
    /// Added to the normed rows, `[rows, width]`.
    pub residual: Option<Activation>,
    /// First half of the norm of `y` that follows, for rows of one part.
    pub norm: Option<PartialNorm>,
}

impl RmsNorm {
    /// The norm of whole rows, without residual.
    pub fn new(x: Activation, weight: Buffer, y: Activation, epsilon: f32) -> Self {
        let (residual, norm) = (None, None);
        Self { x, weight, y, parts: 1, weight_shared_by_heads: false, epsilon, residual, norm }
    }
}

impl KernelRules for RmsNorm {
    const NAME: &'static str = "rms_norm";
    const SHADER: &'static str = include_wgsl!("../../shaders/rms_norm.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![
            Binding::read(self.x.buffer),
            Binding::read(self.weight),
            Binding::write(self.y.buffer),
        ];
        bindings.extend(self.residual.map(|residual| Binding::read(residual.buffer)));
        bindings.extend(self.norm.iter().flat_map(PartialNorm::bindings));
        bindings
    }

    fn imports(&self) -> Vec<Import> {
        let residual = if self.residual.is_some() { "residuals/add" } else { "residuals/none" };
        let epilogue = match self.norm {
            Some(_) => "epilogues/normed_partial_norm",
            None => "epilogues/normed_store",
        };
        vec![("residual", residual), ("epilogue", epilogue)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let width = self.y.width / self.parts;
        let step = if self.weight_shared_by_heads { 0 } else { width };
        let mut constants = vec![
            ("WIDTH", width.into()),
            ("Y_STRIDE", self.y.stride.into()),
            ("EPSILON", self.epsilon.into()),
            ("WEIGHT_STEP", step.into()),
        ];
        constants.extend(self.norm.iter().flat_map(PartialNorm::constants));
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.y.rows.count(step.rows), self.parts, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let width = (self.y.width / self.parts) as usize;
        memory.write_rows(&self.y, step, |memory, row, y| {
            let parts = memory.row(&self.x, row).chunks_exact(width);
            let parts = parts.zip(memory.read(self.weight).chunks_exact(width).cycle());
            for ((x, weight), y) in parts.zip(y.chunks_exact_mut(width)) {
                let scale = rms_scale(sum_of_squares(x), width, self.epsilon);
                for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
                    *y = (f64::from(*x) * scale * f64::from(*weight)) as f32;
                }
            }
            if let Some(residual) = &self.residual {
                y.iter_mut().zip(memory.row(residual, row)).for_each(|(y, x)| *y += x);
            }
        });
        if let Some(norm) = &self.norm {
            norm.reference(memory, &self.y, 0..self.y.rows.count(step.rows), width);
        }
    }
}
