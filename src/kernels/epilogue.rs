//! Fused output transforms of a matrix product: `shaders/epilogues/`, and the folders of the files
//! that these import.
//!
//! `output(function(scale · (sums + bias)))`: bias, scale and function apply to each output by
//! itself; the [`Output`] says where the results are written and what else is computed from them.

use super::{
    Activation, ActivationFunction, Binding, Buffer, Cache, CpuMemory, Heads, Import, PartialNorm,
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
    /// Attention heads: queries are stored in `y`, keys and values in the caches.
    Heads(Heads),
    /// `y = outputs`, one row of logits, and the greatest score of each quad of tokens.
    Best {
        /// [`SamplingBuffers::sampling`].
        sampling: Buffer,
        /// [`SamplingBuffers::best`].
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

/// Words of one row that a product writes: in its `y`, and in up to two other buffers that its
/// epilogue binds.
pub(crate) type Written<'a> = [&'a mut [f32]; 3];

impl Epilogue {
    /// True if outputs are at most biased and scaled, so that another transform can be fused.
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

    /// Number of consecutive outputs that one workgroup must compute, if the epilogue sums over
    /// them.
    pub(super) fn workgroup_outputs(&self) -> Option<u32> {
        match self.output {
            Output::Heads(Heads { norm: Some(_), rotation, .. }) => Some(rotation.head_dim),
            _ => None,
        }
    }

    /// Buffers that the epilogue writes: each with the words of a row, and the words before the
    /// step's first row.
    fn writes(&self, y: Activation, step: Step) -> [Option<(Buffer, usize, usize)>; 3] {
        let rows = |of: Activation| Some((of.buffer, of.stride as usize, 0));
        let cached = |Cache { buffer, rows }: Cache, outputs: u32| {
            let words = rows.words() as usize;
            (outputs > 0).then_some((buffer, words, words * rows.row_of(step.position) as usize))
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

    /// Calls `write` with the memory and, for each row of `y`, the words that it must write.
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
            // The last row of a ring is followed by its first.
            let (first, last) = words.split_at_mut(before);
            let all = last.chunks_exact_mut(stride).chain(first.chunks_exact_mut(stride));
            for (row, words) in rows.iter_mut().zip(all) {
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
}
