//! Token ids to rows of the embedding matrix.

use super::{
    Activation, Binding, Buffer, CpuMemory, Import, KernelRules, MatrixPart, PartialNorm, Step,
};
use crate::formats::UNIT;

/// `y[row] = scale · matrix[tokens[row]]`, for the tokens in this part of the matrix.
#[derive(Debug, Clone)]
pub struct Embed {
    /// Token ids, `[rows]`.
    pub tokens: Buffer,
    /// The embedding matrix, or a part of its rows.
    pub matrix: MatrixPart,
    /// `[rows, columns]`.
    pub y: Activation,
    /// Multiplies the weights.
    pub scale: f32,
    /// First half of the norm of `y` that follows.
    pub norm: Option<PartialNorm>,
}

/// Units that a workgroup writes.
const UNITS: u32 = 64;

impl Embed {
    /// Workgroups that share a row.
    pub(crate) fn workgroups_per_row(&self) -> u32 {
        self.matrix.columns.div_ceil(UNIT as u32 * UNITS)
    }
}

impl KernelRules for Embed {
    const NAME: &'static str = "embed";
    const SHADER: &'static str = include_wgsl!("../../shaders/embed.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![Binding::read(self.tokens), Binding::write(self.y.buffer)];
        bindings.extend(self.norm.iter().flat_map(PartialNorm::bindings));
        bindings
    }

    fn imports(&self) -> Vec<Import> {
        let file = match self.norm {
            Some(_) => "epilogues/unit_partial_norm",
            None => "epilogues/unit_store",
        };
        vec![("epilogue", file)]
    }

    fn matrix(&self) -> Option<MatrixPart> {
        Some(self.matrix)
    }

    fn matrix_mut(&mut self) -> Option<&mut MatrixPart> {
        Some(&mut self.matrix)
    }

    fn reads_whole_matrix(&self) -> bool {
        false
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = vec![
            ("COLUMNS", self.matrix.columns.into()),
            ("FIRST_ROW", self.matrix.first_row.into()),
            ("ROWS", self.matrix.rows.into()),
            ("SCALE", self.scale.into()),
            ("STRIDE", self.y.stride.into()),
        ];
        constants.extend(self.norm.iter().flat_map(PartialNorm::constants));
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.workgroups_per_row(), step.rows, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let matrix = usize::from(self.matrix.matrix);
        let own = self.matrix.first_row..self.matrix.first_row + self.matrix.rows;
        for row in 0..step.rows {
            let token = memory.read(self.tokens)[row as usize].to_bits();
            if !own.contains(&token) {
                continue;
            }
            memory.update(self.y.buffer, |memory, y| {
                let y = &mut y[self.y.start(row)..][..self.matrix.columns as usize];
                memory.matrices[matrix].row(token as usize, y);
                y.iter_mut().for_each(|y| *y *= self.scale);
            });
            if let Some(norm) = &self.norm {
                norm.reference(memory, &self.y, row..row + 1, UNIT * UNITS as usize);
            }
        }
    }
}
