//! Layer norm (Ba et al. 2016), computed in `f32`.

use super::norms::rms_scale;
use super::{Activation, Binding, Buffer, CpuMemory, KernelRules, Step};

/// `y = (x - mean(x)) · rsqrt(variance(x) + epsilon) · weight + bias`.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    /// `[rows, width]`.
    pub x: Activation,
    /// `[width]`.
    pub weight: Buffer,
    /// `[width]`.
    pub bias: Buffer,
    /// `[rows, width]`.
    pub y: Activation,
    /// Added to the variance before its root.
    pub epsilon: f32,
}

impl KernelRules for LayerNorm {
    const NAME: &'static str = "layer_norm";
    const SHADER: &'static str = include_wgsl!("../../shaders/layer_norm.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        let inputs = [self.x.buffer, self.weight, self.bias].map(Binding::read);
        inputs.into_iter().chain([Binding::write(self.y.buffer)]).collect()
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let epsilon = [("EPSILON", self.epsilon.into())];
        self.y.constants().into_iter().chain(epsilon).collect()
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.y.rows.count(step.rows), 1, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.write_rows(&self.y, step, |memory, row, y| {
            let (weight, bias) = (memory.read(self.weight), memory.read(self.bias));
            let x = memory.row(&self.x, row);
            let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
            let squares: f64 = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
            let scale = rms_scale(squares, x.len(), self.epsilon);
            for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                let normed = (f64::from(*x) - mean) * scale;
                *y = (normed * f64::from(*weight) + f64::from(*bias)) as f32;
            }
        });
    }
}
