//! Fused output transforms of a matrix product: `shaders/epilogues/`, and the folders of its parts.
//!
//! `output(function(scale · (sums + bias)))`: bias, scale and function apply to each output by
//! itself; the [`Output`] says where the results are written and what else is computed from them.

use super::{
    Activation, ActivationFunction, Binding, Buffer, Cache, CpuMemory, Heads, Import,
    SamplingBuffers, Step,
};

/// Transforms that a product applies to its outputs before it writes them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epilogue {
    /// Added to the sums, `[rows of the matrix part]`.
    pub bias: Option<Buffer>,
    /// Multiplies the biased sums; 1 by default.
    pub scale: f32,
    /// Applied to the scaled sums.
    pub function: Option<ActivationFunction>,
    /// Destination of the results.
    pub output: Output,
}

/// Destination of a product's outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Output {
    /// `y = outputs`, or `y = residual + outputs`.
    Rows {
        /// `[rows, width of y]`.
        residual: Option<Activation>,
        /// First half of the norm of `y` that follows.
        norm: Option<PartialNorm>,
    },
    /// `y = f(gate) · up`: the upper half of the matrix rows computes the gate, the lower half
    /// `up`.
    Gated(ActivationFunction),
    /// Queries, stored in `y`, keys and values.
    Heads(Heads),
    /// `y = outputs`, one row of logits, and the best token of each quad: [`SamplingBuffers`].
    Best {
        /// Sampling parameters of the request.
        sampling: Buffer,
        /// A key for each quad of the vocabulary.
        best: Buffer,
    },
}

impl Output {
    /// `y = outputs`.
    pub const PLAIN: Output = Output::Rows { residual: None, norm: None };
}

impl Default for Epilogue {
    fn default() -> Self {
        Self { bias: None, scale: 1.0, function: None, output: Output::PLAIN }
    }
}

/// First half of a root-mean-square norm of a row `y`: the row times the norm's weight, and sums of
/// its squares. The products that read it apply the scale: [`super::Prologue::Rms`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartialNorm {
    /// The norm's weight, `[width]`.
    pub weight: Buffer,
    /// `y · weight`, and a sum of squares from each workgroup: [`Activation::with_sums`].
    pub row: Activation,
}

impl PartialNorm {
    pub(super) fn bindings(&self) -> [Binding; 2] {
        [Binding::read(self.weight), Binding::write(self.row.buffer)]
    }

    pub(super) fn constants(&self) -> [(&'static str, f64); 2] {
        [("WEIGHTED_STRIDE", self.row.stride.into()), ("SQUARES", self.row.sums().into())]
    }

    /// Writes the weighted row of `y` and the sums of squares of each `columns_per_sum` columns.
    pub(super) fn reference_row(
        &self,
        memory: &CpuMemory,
        y: &[f32],
        columns_per_sum: usize,
        weighted: &mut [f32],
    ) {
        weight_and_sum(y, memory.read(self.weight), columns_per_sum, weighted);
    }
}

/// Words of a row that a product writes: in its `y`, and in up to two other buffers of its
/// epilogue.
pub(crate) type Written<'a> = [&'a mut [f32]; 3];

impl Epilogue {
    /// True if the outputs are stored as they are or scaled: another transform can follow.
    pub(crate) fn is_linear(&self) -> bool {
        self.function.is_none() && self.output == Output::PLAIN
    }

    pub(super) fn imports(&self) -> Vec<Import> {
        let either = |is_there, file, none| if is_there { file } else { none };
        let mut imports = vec![
            ("bias", either(self.bias.is_some(), "biases/vector", "biases/none")),
            ("function", either(self.function.is_some(), "functions/activation", "functions/none")),
        ];
        match self.output {
            Output::Rows { residual, norm } => imports.extend([
                ("epilogue", "epilogues/rows"),
                ("residual", either(residual.is_some(), "residuals/add", "residuals/none")),
                (
                    "partial_norm",
                    either(norm.is_some(), "partial_norms/partial_rms", "partial_norms/none"),
                ),
            ]),
            Output::Gated(_) => imports.push(("epilogue", "epilogues/gated")),
            Output::Heads(heads) => {
                imports.push(("epilogue", "epilogues/heads"));
                imports.extend(heads.imports());
            }
            Output::Best { .. } => imports.push(("epilogue", "epilogues/best")),
        }
        imports
    }

    /// Bindings that follow the product's inputs.
    pub(super) fn bindings(&self, y: Activation) -> Vec<Binding> {
        let mut bindings: Vec<_> = self.bias.map(Binding::read).into_iter().collect();
        bindings.push(Binding::write(y.buffer));
        match self.output {
            Output::Rows { residual, norm } => {
                bindings.extend(residual.map(|residual| Binding::read(residual.buffer)));
                bindings.extend(norm.iter().flat_map(PartialNorm::bindings));
            }
            Output::Gated(_) => {}
            Output::Heads(heads) => bindings.extend(heads.bindings()),
            Output::Best { sampling, best } => {
                bindings.extend([Binding::read(sampling), Binding::write(best)]);
            }
        }
        bindings
    }

    pub(super) fn constants(&self, y: Activation, first_row: u32) -> Vec<(&'static str, f64)> {
        let mut constants = vec![("SCALE", self.scale.into()), ("Y_STRIDE", y.stride.into())];
        constants.extend(self.function.iter().flat_map(|function| function.constants()));
        match self.output {
            Output::Rows { norm, .. } => {
                constants.push(("FIRST_ROW", first_row.into()));
                constants.extend(norm.iter().flat_map(PartialNorm::constants));
            }
            Output::Gated(function) => constants.extend(function.constants()),
            Output::Heads(heads) => constants.extend(heads.constants()),
            Output::Best { .. } => {
                constants.extend([("FIRST_ROW", first_row.into()), ("VOCABULARY", y.width.into())])
            }
        }
        constants
    }

    /// Outputs that one workgroup must compute together, if the epilogue sums over them.
    pub(super) fn workgroup_outputs(&self) -> Option<u32> {
        match self.output {
            Output::Heads(Heads { norm: Some(_), rotation, .. }) => Some(rotation.head_dim),
            _ => None,
        }
    }

    /// Buffers written, each with the words of a row and the words before the step's first row.
    fn writes(&self, y: Activation, step: Step) -> [Option<(Buffer, usize, usize)>; 3] {
        let rows = |of: Activation| Some((of.buffer, of.stride as usize, 0));
        let cached = |Cache { buffer, rows }: Cache, outputs: u32| {
            let words = rows.words() as usize;
            (outputs > 0).then_some((buffer, words, words * step.position as usize))
        };
        match self.output {
            Output::Rows { norm, .. } => [rows(y), norm.and_then(|norm| rows(norm.row)), None],
            Output::Gated(_) => [rows(y), None, None],
            Output::Heads(heads) => {
                let [_, keys, values] = heads.rows;
                [rows(y), cached(heads.keys, keys), cached(heads.values, values)]
            }
            Output::Best { best, .. } => {
                [rows(y), Some((best, SamplingBuffers::best_words(y.width) as usize, 0)), None]
            }
        }
    }

    /// Runs `write` with the words to be written of each row of `y`.
    pub(crate) fn write(
        &self,
        memory: &mut CpuMemory,
        y: Activation,
        step: Step,
        write: impl FnOnce(&CpuMemory, Vec<Written<'_>>),
    ) {
        let writes = self.writes(y, step);
        let mut taken = writes.map(|written| {
            written.map_or_else(Vec::new, |(buffer, ..)| std::mem::take(memory.buffer_mut(buffer)))
        });
        let mut rows: Vec<Written<'_>> =
            (0..y.rows.count(step.rows)).map(|_| Written::default()).collect();
        for (index, (words, written)) in taken.iter_mut().zip(writes).enumerate() {
            let Some((_, stride, before)) = written else { continue };
            for (row, words) in rows.iter_mut().zip(words[before..].chunks_exact_mut(stride)) {
                row[index] = words;
            }
        }
        write(memory, rows);
        for (written, words) in writes.into_iter().zip(taken) {
            if let Some((buffer, ..)) = written {
                *memory.buffer_mut(buffer) = words;
            }
        }
    }

    /// Writes outputs of the row `row` of `y_rows`, from the column `first_row` on: those of
    /// the sums `sums`, of which a workgroup computes `workgroup_outputs`.
    #[expect(clippy::too_many_arguments, reason = "a row of a product, and where it goes")]
    pub(super) fn reference_row(
        &self,
        memory: &CpuMemory,
        y_rows: Activation,
        first_row: u32,
        step: Step,
        row: u32,
        sums: &[f32],
        [y, first_other, second_other]: &mut Written<'_>,
        workgroup_outputs: usize,
    ) {
        let mut outputs = sums.to_vec();
        if let Some(bias) = self.bias {
            outputs.iter_mut().zip(memory.read(bias)).for_each(|(output, bias)| *output += bias);
        }
        for output in &mut outputs {
            let scaled = f64::from(*output) * f64::from(self.scale);
            *output = self.function.map_or(scaled, |function| function.of(scaled)) as f32;
        }
        let (width, first) = (y_rows.width as usize, first_row as usize);
        match self.output {
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

/// Writes a row times a norm's weight, and behind its columns the sum of squares of each
/// `columns_per_sum` columns.
pub(super) fn weight_and_sum(
    row: &[f32],
    weight: &[f32],
    columns_per_sum: usize,
    weighted: &mut [f32],
) {
    for ((weighted, x), weight) in weighted.iter_mut().zip(row).zip(weight) {
        *weighted = x * weight;
    }
    let sums = &mut weighted[Activation::stride_of(row.len() as u32) as usize..];
    sums.fill(0.0);
    for (sum, columns) in sums.iter_mut().zip(row.chunks(columns_per_sum)) {
        *sum = columns.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() as f32;
    }
}
