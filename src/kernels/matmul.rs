//! Weights × many activation rows: the prompt form of the matrix product, in tiles.

use super::{
    Binding, CpuMemory, Import, KernelRules, MatrixPart, Projection, Prologue, Step, Tile, Variant,
};

/// A [`Projection`] for many rows: arithmetic decides.
#[derive(Debug, Clone)]
pub struct Matmul {
    /// The product itself.
    pub product: Projection,
    /// How it is shared out.
    pub tile: Tile,
}

impl Matmul {
    /// By the tile that is chosen later.
    pub fn new(product: Projection) -> Self {
        Self { product, tile: Tile::default() }
    }
}

impl KernelRules for Matmul {
    const NAME: &'static str = "matmul";
    const SHADER: &'static str = include_str!("../../shaders/matmul.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        self.product.bindings()
    }

    fn matrix(&self) -> Option<MatrixPart> {
        Some(self.product.matrix)
    }

    fn imports(&self) -> Vec<Import> {
        let mut imports = self.product.imports();
        imports.extend(self.tile.imports());
        imports
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        self.product.constants()
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        let [rows, outputs] = self.tile.size();
        // Rows first: what has been read of the weights is near while it is read for others.
        [
            self.product.y.rows.count(step.rows).div_ceil(rows),
            self.product.matrix.rows.div_ceil(outputs),
            1,
        ]
    }

    fn operations(&self, step: Step) -> u64 {
        self.product.operations(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        self.product.reference(memory, step, Prologue::Plain, Variant::default(), 1);
    }
}
