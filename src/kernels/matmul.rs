//! Weights × many activation rows: the prompt form of the matrix product, tiled.

use super::{Binding, CpuMemory, KernelRules, MatrixPart, Projection, Step};

/// A [`Projection`] for many rows: arithmetic decides.
#[derive(Debug, Clone)]
pub struct Matmul(pub Projection);

/// Outputs and activation rows of one workgroup's tile.
const TILE: u32 = 32;

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
        [self.0.matrix.rows.div_ceil(TILE), self.0.y.rows.count(step.rows).div_ceil(TILE), 1]
    }

    fn operations(&self, step: Step) -> u64 {
        self.0.operations(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        self.0.reference(memory, step);
    }
}
