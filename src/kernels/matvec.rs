//! Weights × one activation row at a time: the decode form of the matrix product.

use super::{
    Binding, CpuMemory, Import, KernelRules, MatrixPart, Projection, Prologue, Step, Variant,
};

/// A [`Projection`] for few rows: bandwidth decides.
#[derive(Debug, Clone)]
pub struct Matvec {
    /// The product itself.
    pub product: Projection,
    /// What its inputs lack.
    pub prologue: Prologue,
    /// How lanes work together.
    pub variant: Variant,
}

/// Outputs of a quad.
const QUAD: u32 = 4;

impl Matvec {
    /// The product and no more.
    pub fn new(product: Projection) -> Self {
        Self { product, prologue: Prologue::Plain, variant: Variant::default() }
    }

    fn lanes(&self) -> u32 {
        self.variant.lanes(self.product.matrix.columns)
    }

    /// Outputs that a workgroup computes.
    pub(crate) fn outputs_of_a_workgroup(&self) -> u32 {
        self.variant.invocations() / self.lanes() * QUAD
    }

    /// Workgroups that share a row of outputs.
    pub(crate) fn workgroups_of_a_row(&self) -> u32 {
        self.product.matrix.rows.div_ceil(self.outputs_of_a_workgroup())
    }
}

impl KernelRules for Matvec {
    const NAME: &'static str = "matvec";
    const SHADER: &'static str = include_str!("../../shaders/matvec.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        self.product.bindings()
    }

    fn matrix(&self) -> Option<MatrixPart> {
        Some(self.product.matrix)
    }

    fn imports(&self) -> Vec<Import> {
        let mut imports = vec![("prologue", self.prologue.file())];
        imports.extend(self.product.imports());
        imports.extend(self.variant.imports());
        imports
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = self.product.constants();
        constants.push(("INVOCATIONS", self.variant.invocations().into()));
        constants.push(("LANES", self.lanes().into()));
        constants.extend(self.prologue.constants());
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.workgroups_of_a_row(), self.product.y.rows.count(step.rows), 1]
    }

    fn operations(&self, step: Step) -> u64 {
        self.product.operations(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let together = self.outputs_of_a_workgroup() as usize;
        self.product.reference(memory, step, self.prologue, self.variant, together);
    }
}
