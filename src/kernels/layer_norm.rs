//! Layer norm (Ba et al. 2016), weight and bias applied in f32.

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
    /// Keeps the root away from zero.
    pub epsilon: f32,
}

impl KernelRules for LayerNorm {
    const NAME: &'static str = "layer_norm";
    const SHADER: &'static str = include_str!("../../shaders/layer_norm.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        let inputs = [self.x.buffer, self.weight, self.bias].map(Binding::read);
        inputs.into_iter().chain([Binding::write(self.y.buffer)]).collect()
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("WIDTH", self.y.width.into()),
            ("STRIDE", self.y.stride.into()),
            ("EPSILON", self.epsilon.into()),
        ]
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.y.rows.count(step.rows), 1, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.y.buffer, |memory, y| {
            let (weight, bias) = (memory.read(self.weight), memory.read(self.bias));
            for row in 0..self.y.rows.count(step.rows) {
                let x = memory.row(&self.x, row);
                let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
                let squares: f64 = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
                let scale = 1.0 / (squares / x.len() as f64 + f64::from(self.epsilon)).sqrt();
                for (i, x) in x.iter().enumerate() {
                    let normed = (f64::from(*x) - mean) * scale;
                    y[self.y.start(row) + i] = (normed * f64::from(weight[i]) + f64::from(bias[i])) as f32;
                }
            }
        });
    }
}
