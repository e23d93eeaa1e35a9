//! Weights × one activation row at a time: the decode form of the matrix product.

use super::{
    Activation, Binding, Buffer, CpuMemory, Epilogue, Import, KernelRules, MatrixPart, Prologue, Step,
    Variant,
};

/// `y[row, first_row + o] = Σ_k weights[o, k] · x[row, k]`: what [`Matvec`] and
/// [`super::Matmul`] both compute.
#[derive(Debug, Clone)]
pub struct Projection {
    /// Inputs, `[rows, columns]`.
    pub x: Activation,
    /// The weights, or a part of their rows.
    pub matrix: MatrixPart,
    /// Outputs, `[rows, all rows of the matrix]`.
    pub y: Activation,
}

impl Projection {
    pub(super) fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("ABOVE", self.matrix.above.into()),
            ("COLUMNS", self.matrix.columns.into()),
            ("ROWS", self.matrix.rows.into()),
            ("X_STRIDE", self.x.stride.into()),
        ]
    }

    pub(super) fn operations(&self, step: Step) -> u64 {
        let products = u64::from(self.matrix.rows) * u64::from(self.matrix.columns);
        2 * products * u64::from(self.y.rows.count(step.rows))
    }

    /// Each weight row is dequantised once, then used for every activation row.
    pub(super) fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.y.buffer, |memory, y| {
            let matrix = &memory.matrices[usize::from(self.matrix.matrix)];
            let mut weights = vec![0.0; matrix.columns];
            for output in self.matrix.first_row..self.matrix.first_row + self.matrix.rows {
                matrix.row((self.matrix.above + output) as usize, &mut weights);
                let at = |row| self.y.start(row) + output as usize;
                let (rows, mut row) = (self.y.rows.count(step.rows), 0);
                while row < rows {
                    if row + 4 <= rows {
                        let x = [row, row + 1, row + 2, row + 3].map(|row| memory.row(&self.x, row));
                        for sum in dots(&weights, x) {
                            y[at(row)] = sum;
                            row += 1;
                        }
                    } else {
                        [y[at(row)]] = dots(&weights, [memory.row(&self.x, row)]);
                        row += 1;
                    }
                }
            }
        });
    }
}

/// Products that are summed in `f32`, an eighth of them in each lane.
const SPAN: usize = 64;

/// `Σ weights·x` for several `x`. Sums of at most eight products are `f32`, what they add up to is `f64`.
fn dots<const N: usize>(weights: &[f32], x: [&[f32]; N]) -> [f32; N] {
    let mut totals = [0.0f64; N];
    for (weights, first) in weights.chunks(SPAN).zip((0..).step_by(SPAN)) {
        for (total, x) in totals.iter_mut().zip(x) {
            *total += span_dot(weights, &x[first..][..weights.len()]);
        }
    }
    totals.map(|total| total as f32)
}

/// One `x` after the other and arrays of known length: so the compiler uses vector instructions.
fn span_dot(weights: &[f32], x: &[f32]) -> f64 {
    let ((weights, last_weights), (x, last_x)) = (weights.as_chunks::<8>(), x.as_chunks::<8>());
    let mut lanes = [0.0f32; 8];
    for (weights, x) in weights.iter().zip(x) {
        for lane in 0..8 {
            lanes[lane] += weights[lane] * x[lane];
        }
    }
    let rest = last_weights.iter().zip(last_x).map(|(a, b)| f64::from(*a) * f64::from(*b));
    lanes.iter().copied().map(f64::from).sum::<f64>() + rest.sum::<f64>()
}

/// `Σ a·b`, in eight `f64` lanes so that the compiler can use vector instructions.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f64; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest: f64 = rest.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            lanes[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    (lanes.iter().sum::<f64>() + rest) as f32
}

/// A [`Projection`] for few rows: bandwidth decides.
#[derive(Debug, Clone)]
pub struct Matvec {
    /// The product itself.
    pub product: Projection,
    /// What its inputs lack.
    pub prologue: Prologue,
    /// Added to its outputs, one for each row of the matrix part.
    pub bias: Option<Buffer>,
    /// What becomes of its outputs then.
    pub epilogue: Epilogue,
    /// How lanes work together.
    pub variant: Variant,
}

/// Outputs of a quad.
const QUAD: u32 = 4;

impl Matvec {
    /// The product and no more.
    pub fn new(product: Projection) -> Self {
        let variant = Variant::default();
        Self { product, prologue: Prologue::Plain, bias: None, epilogue: Epilogue::Store, variant }
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
        let mut bindings = vec![Binding::read(self.product.x.buffer)];
        bindings.extend(self.bias.map(Binding::read));
        bindings.extend(self.epilogue.bindings(self.product.y));
        bindings
    }

    fn matrix(&self) -> Option<MatrixPart> {
        Some(self.product.matrix)
    }

    fn imports(&self) -> Vec<Import> {
        let bias = if self.bias.is_some() { "biases/vector" } else { "biases/none" };
        let mut imports = vec![("prologue", self.prologue.file()), ("bias", bias)];
        imports.extend(self.epilogue.imports());
        imports.extend(self.variant.imports());
        imports
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = self.product.constants();
        constants.push(("INVOCATIONS", self.variant.invocations().into()));
        constants.push(("LANES", self.lanes().into()));
        constants.extend(self.prologue.constants());
        constants.extend(self.epilogue.constants(self.product.y, self.product.matrix.first_row));
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.workgroups_of_a_row(), self.product.y.rows.count(step.rows), 1]
    }

    fn operations(&self, step: Step) -> u64 {
        self.product.operations(step)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let Projection { x, matrix, y } = &self.product;
        if (self.prologue, self.bias, self.epilogue) == (Prologue::Plain, None, Epilogue::Store) {
            self.product.reference(memory, step);
            return;
        }
        for row in 0..y.rows.count(step.rows) {
            let inputs = self.prologue.complete(memory, x, row);
            let weights = &memory.matrices[usize::from(matrix.matrix)];
            let mut unpacked = vec![0.0; weights.columns];
            let first = matrix.above + matrix.first_row;
            let outputs = (first..first + matrix.rows).map(|row| {
                weights.row(row as usize, &mut unpacked);
                let [output] = dots(&unpacked, [&inputs[..]]);
                output
            });
            let mut outputs: Vec<f32> = outputs.collect();
            for (output, bias) in outputs.iter_mut().zip(self.bias.iter().flat_map(|bias| memory.read(*bias)))
            {
                *output += bias;
            }
            let together = self.outputs_of_a_workgroup() as usize;
            self.epilogue.finish(memory, &self.product, step, row, &outputs, together);
        }
    }
}
