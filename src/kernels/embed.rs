//! Token ids to rows of the embedding matrix.

use super::{Activation, Binding, Buffer, CpuMemory, KernelRules, MatrixPart, Step};
use crate::formats::UNIT;

/// `y[row] = matrix[tokens[row]]`, for the tokens that lie in this part of the matrix.
#[derive(Debug, Clone)]
pub struct Embed {
    /// Token ids, `[rows]`.
    pub tokens: Buffer,
    /// The embedding matrix, or a part of it.
    pub matrix: MatrixPart,
    /// `[rows, columns]`.
    pub y: Activation,
}

impl KernelRules for Embed {
    const NAME: &'static str = "embed";
    const SHADER: &'static str = include_str!("../../shaders/embed.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.tokens), Binding::write(self.y.buffer)]
    }

    fn matrix(&self) -> Option<MatrixPart> {
        Some(self.matrix)
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("COLUMNS", self.matrix.columns.into()),
            ("FIRST_ROW", self.matrix.first_row.into()),
            ("ROWS", self.matrix.rows.into()),
            ("STRIDE", self.y.stride.into()),
        ]
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.matrix.columns.div_ceil(UNIT as u32).div_ceil(64), step.rows, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.y.buffer, |memory, y| {
            let matrix = &memory.matrices[usize::from(self.matrix.matrix)];
            for row in 0..step.rows {
                let token = memory.read(self.tokens)[row as usize].to_bits();
                if (self.matrix.first_row..self.matrix.first_row + self.matrix.rows).contains(&token) {
                    matrix.row(token as usize, &mut y[self.y.start(row)..][..matrix.columns]);
                }
            }
        });
    }
}
