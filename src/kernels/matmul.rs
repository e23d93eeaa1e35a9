//! Weights × many rows of activations: the matrix product of prefill, bound by arithmetic.

use super::{
    Binding, CpuMemory, Import, KernelRules, MatmulTiling, MatvecStrategy, Projection, Prologue,
    Step,
};

/// A [`Projection`] for many rows.
#[derive(Debug, Clone)]
pub struct Matmul {
    /// The product and its epilogue.
    pub product: Projection,
    /// Division into workgroups and lanes.
    pub tiling: MatmulTiling,
}

impl Matmul {
    /// The product without transforms, by the default tiling.
    pub fn new(product: Projection) -> Self {
        Self { product, tiling: MatmulTiling::default() }
    }
}

impl KernelRules for Matmul {
    const NAME: &'static str = "matmul";
    const SHADER: &'static str = include_wgsl!("../../shaders/matmul.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        self.product.bindings()
    }

    fn product(&self) -> Option<&Projection> {
        Some(&self.product)
    }

    fn product_mut(&mut self) -> Option<&mut Projection> {
        Some(&mut self.product)
    }

    fn use_tiling(&mut self, tiling: MatmulTiling) {
        self.tiling = tiling;
    }

    fn implementation(&self) -> Option<String> {
        Some(self.tiling.name().to_owned())
    }

    fn imports(&self) -> Vec<Import> {
        let mut imports = self.product.imports();
        imports.extend(self.tiling.imports());
        imports
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        self.product.constants()
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        let [rows, outputs] = self.tiling.size();
        // Rows are the first axis, so that consecutive workgroups read the same weights.
        let step_rows = self.product.y.rows.count(step.rows);
        [step_rows.div_ceil(rows), self.product.matrix.rows.div_ceil(outputs), 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        self.product.reference(memory, step, Prologue::Plain, MatvecStrategy::default(), 1);
    }
}
