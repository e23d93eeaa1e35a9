//! Token ids to rows of the embedding matrix.

use super::{
    Activation, Binding, Buffer, CpuMemory, Import, KernelRules, MatrixPart, Step, Weighted,
};
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
    /// What the norm that follows makes of it but for its scale.
    pub weighted: Option<Weighted>,
}

/// Units of a workgroup.
const UNITS: u32 = 64;

impl Embed {
    /// Workgroups that share a row.
    pub(crate) fn workgroups_of_a_row(&self) -> u32 {
        self.matrix.columns.div_ceil(UNIT as u32 * UNITS)
    }
}

impl KernelRules for Embed {
    const NAME: &'static str = "embed";
    const SHADER: &'static str = include_str!("../../shaders/embed.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![Binding::read(self.tokens), Binding::write(self.y.buffer)];
        bindings.extend(self.weighted.iter().flat_map(Weighted::bindings));
        bindings
    }

    fn imports(&self) -> Vec<Import> {
        let file =
            if self.weighted.is_some() { "epilogues/unit_squares" } else { "epilogues/unit_store" };
        vec![("epilogue", file)]
    }

    fn matrix(&self) -> Option<MatrixPart> {
        Some(self.matrix)
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = vec![
            ("COLUMNS", self.matrix.columns.into()),
            ("FIRST_ROW", self.matrix.first_row.into()),
            ("ROWS", self.matrix.rows.into()),
            ("STRIDE", self.y.stride.into()),
        ];
        constants.extend(self.weighted.iter().flat_map(Weighted::constants));
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.workgroups_of_a_row(), step.rows, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let matrix = usize::from(self.matrix.matrix);
        self.rows(memory, step, |memory, row, weights| memory.matrices[matrix].row(row, weights));
    }
}

impl Embed {
    /// What it means, with rows of the matrix as `read` gives them.
    pub(crate) fn rows(
        &self,
        memory: &mut CpuMemory,
        step: Step,
        read: impl Fn(&CpuMemory, usize, &mut [f32]),
    ) {
        for row in 0..step.rows {
            let token = memory.read(self.tokens)[row as usize].to_bits();
            if (self.matrix.first_row..self.matrix.first_row + self.matrix.rows).contains(&token) {
                memory.update(self.y.buffer, |memory, y| {
                    let weights = &mut y[self.y.start(row)..][..self.matrix.columns as usize];
                    read(memory, token as usize, weights);
                });
                if let Some(weighted) = &self.weighted {
                    memory.update(weighted.row.buffer, |memory, words| {
                        let words =
                            &mut words[weighted.row.start(row)..][..weighted.row.stride as usize];
                        weighted.write(
                            memory,
                            memory.row(&self.y, row),
                            UNIT * UNITS as usize,
                            words,
                        );
                    });
                }
            }
        }
    }
}
