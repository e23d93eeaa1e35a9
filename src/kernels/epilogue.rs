//! What may become of a product's outputs before they are written: `shaders/epilogues/`.

use super::{
    Activation, Binding, Buffer, Cache, CpuMemory, Function, Heads, Import, Projection,
    SamplingBuffers, Step,
};

/// What becomes of a product's outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Epilogue {
    /// `y = outputs`.
    Store,
    /// `y = f(outputs)`.
    Function(Function),
    /// `y = f(gate) · up`, where the upper half of the rows is the gate's, the lower half up's.
    Gate(Function),
    /// `y = residual + outputs`.
    Add {
        /// `[rows, width of y]`.
        residual: Activation,
    },
    /// The same, and what the norm that follows makes of it but for its scale.
    AddSquares {
        /// `[rows, width of y]`.
        residual: Activation,
        /// What the norm makes of it.
        weighted: Weighted,
    },
    /// Queries, stored in `y`, keys and values.
    Heads(Heads),
    /// `y = outputs`, which are one row of logits, and the best of each quad: [`SamplingBuffers`].
    Best {
        /// How a token is chosen.
        sampling: Buffer,
        /// A key for each quad of the vocabulary.
        best: Buffer,
    },
}

/// What a norm makes of a row `y` but for its scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighted {
    /// The norm's weights, `[width]`.
    pub weight: Buffer,
    /// `y · weight`, and a sum of squares from each workgroup: [`Activation::with_sums`].
    pub row: Activation,
}

impl Weighted {
    pub(super) fn bindings(&self) -> [Binding; 2] {
        [Binding::read(self.weight), Binding::write(self.row.buffer)]
    }

    pub(super) fn constants(&self) -> [(&'static str, f64); 2] {
        [("WEIGHTED_STRIDE", self.row.stride.into()), ("SQUARES", self.row.sums().into())]
    }

    /// Writes the row of `y`; a workgroup computes `together` columns.
    pub(super) fn write(
        &self,
        memory: &CpuMemory,
        y: &[f32],
        together: usize,
        weighted: &mut [f32],
    ) {
        weight_and_sum(y, memory.read(self.weight), together, weighted);
    }
}

/// What a product writes of a row: in its `y`, and in the buffers that its epilogue has besides.
pub(crate) type Written<'a> = [&'a mut [f32]; 3];

impl Epilogue {
    pub(super) fn imports(self) -> Vec<Import> {
        let file = match self {
            Epilogue::Store => "epilogues/store",
            Epilogue::Function(_) => "epilogues/function",
            Epilogue::Gate(_) => "epilogues/gate",
            Epilogue::Add { .. } => "epilogues/add",
            Epilogue::AddSquares { .. } => "epilogues/add_squares",
            Epilogue::Heads(_) => "epilogues/heads",
            Epilogue::Best { .. } => "epilogues/best",
        };
        let mut imports = vec![("epilogue", file)];
        if let Epilogue::Heads(heads) = self {
            imports.extend(heads.import());
        }
        imports
    }

    /// What it binds after the inputs.
    pub(super) fn bindings(self, y: Activation) -> Vec<Binding> {
        let mut bindings = vec![Binding::write(y.buffer)];
        match self {
            Epilogue::Store | Epilogue::Function(_) | Epilogue::Gate(_) => {}
            Epilogue::Add { residual } => bindings.push(Binding::read(residual.buffer)),
            Epilogue::AddSquares { residual, weighted } => {
                bindings.push(Binding::read(residual.buffer));
                bindings.extend(weighted.bindings());
            }
            Epilogue::Heads(heads) => bindings.extend(heads.bindings()),
            Epilogue::Best { sampling, best } => {
                bindings.extend([Binding::read(sampling), Binding::write(best)]);
            }
        }
        bindings
    }

    pub(super) fn constants(self, y: Activation, first_row: u32) -> Vec<(&'static str, f64)> {
        let mut constants = vec![("Y_STRIDE", y.stride.into())];
        if !matches!(self, Epilogue::Gate(_) | Epilogue::Heads(_)) {
            constants.push(("FIRST_ROW", first_row.into()));
        }
        match self {
            Epilogue::Store | Epilogue::Add { .. } => {}
            Epilogue::Function(function) | Epilogue::Gate(function) => {
                constants.extend(function.constants());
            }
            Epilogue::AddSquares { weighted, .. } => constants.extend(weighted.constants()),
            Epilogue::Heads(heads) => constants.extend(heads.constants()),
            Epilogue::Best { .. } => constants.push(("VOCABULARY", y.width.into())),
        }
        constants
    }

    /// The buffers that it writes, with the words of a row of each and those before the step's first.
    fn writes(self, y: Activation, step: Step) -> [Option<(Buffer, usize, usize)>; 3] {
        let rows = |of: Activation| Some((of.buffer, of.stride as usize, 0));
        let kept = |Cache { buffer, rows }: Cache, outputs: u32| {
            let words = rows.words() as usize;
            (outputs > 0).then_some((buffer, words, words * step.position as usize))
        };
        match self {
            Epilogue::AddSquares { weighted, .. } => [rows(y), rows(weighted.row), None],
            Epilogue::Heads(heads) => {
                let [_, keys, values] = heads.rows;
                [rows(y), kept(heads.keys, keys), kept(heads.values, values)]
            }
            Epilogue::Best { best, .. } => {
                [rows(y), Some((best, SamplingBuffers::best_words(y.width) as usize, 0)), None]
            }
            _ => [rows(y), None, None],
        }
    }

    /// Runs `write` with what is to be written of each row of `y`.
    pub(crate) fn write(
        self,
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

    /// Writes a row of outputs of that product; a workgroup computes `together` of them.
    #[expect(
        clippy::too_many_arguments,
        reason = "a product's row, where it goes, and what it takes on"
    )]
    pub(crate) fn finish(
        self,
        memory: &CpuMemory,
        product: &Projection,
        step: Step,
        row: u32,
        outputs: &mut [f32],
        [y, first_other, second_other]: &mut Written<'_>,
        together: usize,
    ) {
        let (width, first) = (product.y.width as usize, product.matrix.first_row as usize);
        match self {
            Epilogue::Store => y[first..][..outputs.len()].copy_from_slice(outputs),
            Epilogue::Best { sampling, .. } => {
                y[first..][..outputs.len()].copy_from_slice(outputs);
                let best = &mut first_other[first / SamplingBuffers::QUAD as usize..];
                memory.sampling(sampling).best_of_quads(step, first as u32, outputs, best);
            }
            Epilogue::Function(function) => {
                for (y, output) in y[first..].iter_mut().zip(outputs) {
                    *y = function.of(f64::from(*output)) as f32;
                }
            }
            Epilogue::Gate(function) => {
                let (gate, up) = outputs.split_at(outputs.len() / 2);
                for ((y, gate), up) in y[first..].iter_mut().zip(gate).zip(up) {
                    *y = (function.of(f64::from(*gate)) * f64::from(*up)) as f32;
                }
            }
            Epilogue::Add { residual } | Epilogue::AddSquares { residual, .. } => {
                let residual = &memory.row(&residual, row)[first..];
                for ((y, residual), output) in y[first..].iter_mut().zip(residual).zip(outputs) {
                    *y = residual + *output;
                }
            }
            Epilogue::Heads(heads) => {
                let table = memory.read(heads.turn.table);
                heads.finish(table, step.position + row, outputs, [y, first_other, second_other]);
            }
        }
        if let Epilogue::AddSquares { weighted, .. } = self {
            weighted.write(memory, &y[..width], together, first_other);
        }
    }
}

/// A row times a norm's weights, and behind it the squares of every `together` columns summed.
pub(super) fn weight_and_sum(row: &[f32], weights: &[f32], together: usize, weighted: &mut [f32]) {
    for ((weighted, x), weight) in weighted.iter_mut().zip(row).zip(weights) {
        *weighted = x * weight;
    }
    let sums = &mut weighted[Activation::stride_of(row.len() as u32) as usize..];
    sums.fill(0.0);
    for (sum, columns) in sums.iter_mut().zip(row.chunks(together)) {
        *sum = columns.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() as f32;
    }
}
