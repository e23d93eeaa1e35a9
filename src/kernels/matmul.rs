//! Weights × many activation rows: the prompt form of the matrix product, in tiles.

use super::{Binding, CpuMemory, KernelRules, MatrixPart, Projection, Step};

/// A [`Projection`] for many rows: arithmetic decides.
#[derive(Debug, Clone)]
pub struct Matmul(pub Projection);

/// Rows and outputs that one invocation computes.
const ROWS: u32 = 4;
const OUTPUTS: u32 = 8;

impl Matmul {
    /// How many of a workgroup's 64 invocations lie along the rows: enough for them, at most 8; the
    /// others lie along the outputs. A prompt of two tokens is not computed as one of 32.
    fn row_lanes(rows: u32) -> u32 {
        rows.div_ceil(ROWS).next_power_of_two().min(8)
    }
}

impl KernelRules for Matmul {
    const NAME: &'static str = "matmul";
    const SHADER: &'static str = include_str!("../../shaders/matmul.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.0.x.buffer), Binding::write(self.0.y.buffer)]
    }

    fn matrix(&self) -> Option<MatrixPart> {
        Some(self.0.matrix)
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = self.0.constants();
        constants.push(("FIRST_ROW", self.0.matrix.first_row.into()));
        constants.push(("Y_STRIDE", self.0.y.stride.into()));
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        let rows = self.0.y.rows.count(step.rows);
        let lanes = Self::row_lanes(rows);
        [self.0.matrix.rows.div_ceil(64 / lanes * OUTPUTS), rows.div_ceil(lanes * ROWS), 1]
    }

    fn operations(&self, step: Step) -> u64 {
        self.0.operations(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        self.0.reference(memory, step);
    }
}
