//! A product with a weight matrix and its epilogue: the part common to [`super::Matvec`] and
//! [`super::Matmul`], and its CPU reference.

use super::{
    Activation, Binding, CpuMemory, Epilogue, Import, MatrixPart, MatvecStrategy, Output, Prologue,
    SamplingBuffers, Step, Written,
};

/// `y[row, first_row + o] = epilogue(Σ_k weights[o, k] · x[row, k])`.
#[derive(Debug, Clone)]
pub struct Projection {
    /// Inputs, `[rows, columns]`.
    pub x: Activation,
    /// The weights, or a part of their rows.
    pub matrix: MatrixPart,
    /// Outputs, `[rows, all rows of the matrix]`.
    pub y: Activation,
    /// Transforms of the outputs, and where they are written.
    pub epilogue: Epilogue,
}

impl Projection {
    /// The product without transforms.
    pub fn new(x: Activation, matrix: MatrixPart, y: Activation) -> Self {
        Self { x, matrix, y, epilogue: Epilogue::default() }
    }

    pub(super) fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![Binding::read(self.x.buffer)];
        bindings.extend(self.epilogue.bindings(self.y));
        bindings
    }

    pub(super) fn imports(&self) -> Vec<Import> {
        self.epilogue.imports()
    }

    pub(super) fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = vec![
            ("ROW_OFFSET", self.matrix.row_offset.into()),
            ("COLUMNS", self.matrix.columns.into()),
            ("ROWS", self.matrix.rows.into()),
            ("X_STRIDE", self.x.stride.into()),
        ];
        constants.extend(self.epilogue.constants(self.y, self.matrix.first_row));
        constants
    }

    pub(super) fn operations(&self, step: Step) -> u64 {
        let products = u64::from(self.matrix.rows) * u64::from(self.matrix.columns);
        2 * products * u64::from(self.y.rows.count(step.rows))
    }

    /// CPU reference: dequantizes each weight row once and multiplies it with every row of inputs.
    /// A workgroup of the shader computes `workgroup_outputs` outputs of a row.
    pub(super) fn reference(
        &self,
        memory: &mut CpuMemory,
        step: Step,
        prologue: Prologue,
        strategy: MatvecStrategy,
        workgroup_outputs: usize,
    ) {
        let rows = self.y.rows.count(step.rows);
        let input = |row| strategy.rounded(prologue.reference_row(memory, &self.x, row));
        let inputs: Vec<_> = (0..rows).map(input).collect();
        let matrix = &memory.matrices[usize::from(self.matrix.matrix)];
        let mut weights = vec![0.0; matrix.columns];
        let mut sums = vec![vec![0.0; self.matrix.rows as usize]; inputs.len()];
        let first = self.matrix.row_offset + self.matrix.first_row;
        for output in 0..self.matrix.rows as usize {
            matrix.row(first as usize + output, &mut weights);
            for (inputs, sums) in inputs.iter().zip(&mut sums) {
                sums[output] = weighted_sum(&weights, inputs);
            }
        }
        self.epilogue.write(memory, self.y, step, |memory, written| {
            for (row, (mut written, sums)) in (0..).zip(written.into_iter().zip(&sums)) {
                self.finish_row(memory, step, row, sums, &mut written, workgroup_outputs);
            }
        });
    }

    /// Applies the epilogue to the sums of row `row` and writes the results. If a norm follows,
    /// there is a partial sum of squares for every `workgroup_outputs` outputs.
    fn finish_row(
        &self,
        memory: &CpuMemory,
        step: Step,
        row: u32,
        sums: &[f32],
        [y, first_other, second_other]: &mut Written<'_>,
        workgroup_outputs: usize,
    ) {
        let epilogue = &self.epilogue;
        let mut outputs = sums.to_vec();
        if let Some(bias) = epilogue.bias {
            outputs.iter_mut().zip(memory.read(bias)).for_each(|(output, bias)| *output += bias);
        }
        for output in &mut outputs {
            let scaled = f64::from(*output) * f64::from(epilogue.scale);
            *output = epilogue.function.map_or(scaled, |function| function.of(scaled)) as f32;
        }
        let (width, first) = (self.y.width as usize, self.matrix.first_row as usize);
        match epilogue.output {
            Output::Rows { residual, norm } => {
                if let Some(residual) = residual {
                    let residual = &memory.row(&residual, row)[first..];
                    outputs.iter_mut().zip(residual).for_each(|(output, x)| *output += x);
                }
                y[first..][..outputs.len()].copy_from_slice(&outputs);
                if let Some(norm) = norm {
                    norm.reference_row(memory, &y[..width], workgroup_outputs, first_other);
                }
            }
            Output::Gated(function) => {
                let (gate, up) = outputs.split_at(outputs.len() / 2);
                for ((y, gate), up) in y[first..].iter_mut().zip(gate).zip(up) {
                    *y = (function.of(f64::from(*gate)) * f64::from(*up)) as f32;
                }
            }
            Output::Heads(heads) => {
                let position = step.position + row;
                heads.reference_row(memory, position, &mut outputs, [y, first_other, second_other]);
            }
            Output::Best { sampling, .. } => {
                y[first..][..outputs.len()].copy_from_slice(&outputs);
                let best = &mut first_other[first / SamplingBuffers::QUAD as usize..];
                memory.sampling(sampling).best_of_quads(step, first as u32, &outputs, best);
            }
        }
    }
}

/// Products of a span, which are summed in `f32`: eight in each of eight lanes.
const SPAN: usize = 64;

/// `Σ weights·x`. Sums of at most eight products are `f32`, the sum of those is `f64`.
fn weighted_sum(weights: &[f32], x: &[f32]) -> f32 {
    let spans = weights.chunks(SPAN).zip(x.chunks(SPAN));
    spans.map(|(weights, x)| span_sum(weights, x)).sum::<f64>() as f32
}

/// `Σ weights·x` of a span, in arrays of known length so that the compiler uses vector
/// instructions.
fn span_sum(weights: &[f32], x: &[f32]) -> f64 {
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

/// `Σ a·b`, in eight `f64` lanes so that the compiler uses vector instructions.
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
