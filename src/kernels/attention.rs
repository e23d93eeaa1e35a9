//! Causal attention of the step's rows over the key/value cache, grouped-query.

use super::matvec::dot;
use super::{Activation, Binding, Buffer, CpuMemory, Function, KernelRules, Step};

/// The heads of an attention, and what they see.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Query heads.
    pub head_count: u32,
    /// Key/value heads; divides `head_count`.
    pub kv_head_count: u32,
    /// Elements of a head: a multiple of 4, at most [`AttentionShape::MAX_HEAD_DIM`].
    pub head_dim: u32,
    /// Applied to the scores, usually `head_dim^-0.5`.
    pub scale: f32,
    /// A bound of the scaled scores, see [`Function::Softcap`].
    pub softcap: Option<f32>,
    /// Positions that a row sees, its own among them; all without one.
    pub window: Option<u32>,
}

impl AttentionShape {
    /// The widest head that the shader's workgroup memory holds.
    pub const MAX_HEAD_DIM: u32 = 256;

    /// Attention over all positions, scores scaled by `head_dim^-0.5`.
    pub fn new(head_count: u32, kv_head_count: u32, head_dim: u32) -> Self {
        let scale = f64::from(head_dim).sqrt().recip() as f32;
        Self { head_count, kv_head_count, head_dim, scale, softcap: None, window: None }
    }

    fn scaled(&self, score: f32) -> f64 {
        let score = f64::from(score) * f64::from(self.scale);
        self.softcap.map_or(score, |cap| Function::Softcap(cap).of(score))
    }
}

/// `y = softmax(scale · q · keysᵀ) · values`, head by head; query head `h` uses key/value head
/// `h / (head_count / kv_head_count)`; row `r` sees positions `0 ..= position + r`, or the last
/// `window` of them.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Queries, `[rows, head_count * head_dim]`.
    pub q: Activation,
    /// Keys, `[context, kv_head_count * head_dim]`.
    pub keys: Buffer,
    /// Values, `[context, kv_head_count * head_dim]`.
    pub values: Buffer,
    /// `[rows, head_count * head_dim]`.
    pub y: Activation,
    /// Its heads and what they see.
    pub shape: AttentionShape,
}

impl KernelRules for Attention {
    const NAME: &'static str = "attention";
    const SHADER: &'static str = include_str!("../../shaders/attention.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.q.buffer),
            Binding::read(self.keys),
            Binding::read(self.values),
            Binding::write(self.y.buffer),
        ]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let quads = self.shape.head_dim / 4;
        vec![
            ("STRIDE", self.q.stride.into()),
            ("QUADS", quads.into()),
            ("SLICES", (64 / quads).into()),
            ("KV_QUADS", (self.shape.kv_head_count * quads).into()),
            ("HEADS_PER_KV", (self.shape.head_count / self.shape.kv_head_count).into()),
            ("SCALE", self.shape.scale.into()),
            ("SOFTCAP", self.shape.softcap.unwrap_or(0.0).into()),
            ("WINDOW", self.shape.window.unwrap_or(0).into()),
        ]
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.shape.head_count, step.rows, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let AttentionShape { head_count, kv_head_count, head_dim, window, .. } = self.shape;
        let (head_dim, heads_per_kv) = (head_dim as usize, (head_count / kv_head_count) as usize);
        let kv_width = kv_head_count as usize * head_dim;
        memory.update(self.y.buffer, |memory, y| {
            let (keys, values) = (memory.read(self.keys), memory.read(self.values));
            for row in 0..step.rows {
                let q = memory.row(&self.q, row);
                let positions = (step.position + row) as usize + 1;
                let oldest = window.map_or(0, |window| positions.saturating_sub(window as usize));
                for head in 0..head_count as usize {
                    let kv = head / heads_per_kv * head_dim;
                    let q = &q[head * head_dim..][..head_dim];
                    let mut weights: Vec<f64> = (oldest..positions)
                        .map(|p| self.shape.scaled(dot(q, &keys[p * kv_width + kv..][..head_dim])))
                        .collect();
                    softmax(&mut weights);
                    let out = &mut y[self.y.start(row) + head * head_dim..][..head_dim];
                    weighted_sum(&weights, &values[oldest * kv_width..], kv_width, kv, out);
                }
            }
        });
    }
}

fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for score in &mut *scores {
        *score = (*score - largest).exp();
        total += *score;
    }
    for score in scores {
        *score /= total;
    }
}

/// `out = Σ_p weights[p] · values[p, first .. first + out.len()]`.
fn weighted_sum(weights: &[f64], values: &[f32], stride: usize, first: usize, out: &mut [f32]) {
    let mut sums = vec![0.0f64; out.len()];
    for (p, weight) in weights.iter().enumerate() {
        for (sum, value) in sums.iter_mut().zip(&values[p * stride + first..]) {
            *sum += weight * f64::from(*value);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum as f32;
    }
}
