//! Weights × few rows of activations, row by row: the matrix product of decode, bound by memory
//! bandwidth.

use super::{Binding, CpuMemory, Import, KernelRules, MatvecStrategy, Projection, Prologue, Step};

/// A [`Projection`] for few rows.
#[derive(Debug, Clone)]
pub struct Matvec {
    /// The product and its epilogue.
    pub product: Projection,
    /// Transform of the inputs.
    pub prologue: Prologue,
    /// Reduction and arithmetic of the shader.
    pub strategy: MatvecStrategy,
}

/// Outputs of a quad: consecutive outputs that the same lanes compute.
const QUAD: u32 = 4;
/// Invocations of a workgroup on every WebGPU adapter.
const MAX_INVOCATIONS: u32 = 256;

/// Shape of a workgroup.
#[derive(Debug, Clone, Copy)]
struct Workgroup {
    /// Quads of outputs.
    quads: u32,
    /// Lanes that share a quad.
    lanes: u32,
}

impl Matvec {
    /// The product without transforms, by the default strategy.
    pub fn new(product: Projection) -> Self {
        Self { product, prologue: Prologue::Plain, strategy: MatvecStrategy::default() }
    }

    /// Shape of a workgroup. It follows the strategy, unless the epilogue needs certain outputs in
    /// one workgroup: then it has exactly these, and as many of the strategy's lanes as fit.
    fn workgroup(&self) -> Workgroup {
        let lanes = self.strategy.lanes(self.product.matrix.columns);
        match self.product.epilogue.workgroup_outputs() {
            None => Workgroup { quads: self.strategy.invocations() / lanes, lanes },
            Some(outputs) => {
                let quads = outputs / QUAD;
                let max_lanes = 1 << (MAX_INVOCATIONS / quads).ilog2();
                Workgroup { quads, lanes: lanes.min(max_lanes) }
            }
        }
    }

    /// Outputs of a workgroup.
    fn workgroup_outputs(&self) -> u32 {
        self.workgroup().quads * QUAD
    }

    /// Workgroups that share a row of outputs.
    pub(crate) fn workgroups_per_row(&self) -> u32 {
        self.product.matrix.rows.div_ceil(self.workgroup_outputs())
    }
}

impl KernelRules for Matvec {
    const NAME: &'static str = "matvec";
    const SHADER: &'static str = include_wgsl!("../../shaders/matvec.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        self.product.bindings()
    }

    fn product(&self) -> Option<&Projection> {
        Some(&self.product)
    }

    fn product_mut(&mut self) -> Option<&mut Projection> {
        Some(&mut self.product)
    }

    fn use_strategy(&mut self, strategy: MatvecStrategy) {
        self.strategy = strategy.for_format(self.product.matrix.format);
    }

    fn implementation(&self) -> Option<String> {
        Some(self.strategy.name())
    }

    fn imports(&self) -> Vec<Import> {
        let mut imports = vec![("prologue", self.prologue.file())];
        imports.extend(self.product.imports());
        imports.extend(self.strategy.imports());
        imports
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let Workgroup { quads, lanes } = self.workgroup();
        let mut constants = self.product.constants();
        constants.push(("INVOCATIONS", (quads * lanes).into()));
        constants.push(("LANES", lanes.into()));
        constants.extend(self.prologue.constants());
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.workgroups_per_row(), self.product.y.rows.count(step.rows), 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let outputs = self.workgroup_outputs() as usize;
        self.product.reference(memory, step, self.prologue, self.strategy, outputs);
    }
}
