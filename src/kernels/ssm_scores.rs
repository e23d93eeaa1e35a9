//! C·Bᵀ within chunks of 64 rows: the part of a Mamba-2 scan in matrix form that is the same for
//! all heads of a group.

use super::projection::dot;
use super::ssm::ScanShape;
use super::{Activation, Binding, CpuMemory, KernelRules, Step};

/// `y[l, group · 64 + s] = C[l] · B[s]` for the rows `l` and `s` of a chunk; rows `s` past the end
/// repeat the last one.
#[derive(Debug, Clone)]
pub struct SsmScores {
    /// `[rows, x | B | C]` as [`super::SsmConv`] writes it.
    pub x: Activation,
    /// `[rows, group_count · 64]`.
    pub y: Activation,
    /// Sizes of the mixer.
    pub shape: ScanShape,
}

impl SsmScores {
    /// Rows of a chunk.
    pub const CHUNK: u32 = 64;
}

impl KernelRules for SsmScores {
    const NAME: &'static str = "ssm_scores";
    const SHADER: &'static str = include_wgsl!("../../shaders/ssm_scores.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.x.buffer), Binding::write(self.y.buffer)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let [_, b, c, _] = self.shape.convolved();
        vec![
            ("X_STRIDE", self.x.stride.into()),
            ("Y_STRIDE", self.y.stride.into()),
            ("FIRST_B", b.into()),
            ("FIRST_C", c.into()),
            ("STATE_STRIDE", self.shape.state_stride().into()),
        ]
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.shape.group_count * 2, step.rows.div_ceil(32), 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let [_, b, c, _] = self.shape.convolved();
        let size = self.shape.state_size as usize;
        memory.update(self.y.buffer, |memory, y| {
            for l in 0..step.rows {
                let first = l / Self::CHUNK * Self::CHUNK;
                let row = &mut y[self.y.start(l)..][..self.y.width as usize];
                for (column, score) in row.iter_mut().enumerate() {
                    let (group, s) = (column as u32 / Self::CHUNK, column as u32 % Self::CHUNK);
                    let group = (group * self.shape.state_stride()) as usize;
                    let s = (first + s).min(step.rows - 1);
                    let c = &memory.row(&self.x, l)[c as usize + group..][..size];
                    let b = &memory.row(&self.x, s)[b as usize + group..][..size];
                    *score = dot(c, b);
                }
            }
        });
    }
}
