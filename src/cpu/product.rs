//! A product with a packed matrix, and what it takes on: inputs rounded once, panels, then each row of
//! outputs as its kernel means it.

use std::ops::Range;

use super::inputs::Inputs;
use super::packed::{PANEL, Packed};
use super::{CpuVariant, Threads};
use crate::kernels::{Buffer, CpuMemory, Epilogue, Matmul, Matvec, Projection, Prologue, Step};

/// By which instructions, and on which threads.
type How<'a> = (CpuVariant, &'a Threads);

/// Products that are worth a thread's while, at least: some microseconds.
const PART: usize = 1 << 18;
/// Parts for each thread but one: not all of them get along as well.
const PARTS: usize = 4;

/// Memory of products, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Products {
    inputs: Inputs,
    panels: Vec<[f32; PANEL]>,
    outputs: Vec<f32>,
}

impl Products {
    /// Weights × many rows.
    pub(super) fn matmul(
        &mut self,
        how: How<'_>,
        packed: &Packed,
        memory: &mut CpuMemory,
        Matmul { product, .. }: &Matmul,
        step: Step,
    ) {
        let matvec = Matvec::new(product.clone());
        self.matvec(how, packed, memory, &matvec, step);
    }

    /// The outputs of some panels, shared out.
    fn panels(&mut self, (variant, threads): How<'_>, packed: &Packed, panels: Range<usize>) {
        let (inputs, rows) = (&self.inputs, self.inputs.rows());
        let worth = (panels.len() * PANEL * packed.columns * rows).div_ceil(PART);
        let together = panels.len().div_ceil(worth.clamp(1, PARTS * (threads.count() - 1) + 1)).max(1);
        let parts = panels.step_by(together).zip(self.panels.chunks_mut(together * rows));
        threads.each(parts, |(first, y)| variant.products(packed, first..first + y.len() / rows, inputs, y));
    }

    /// Weights × few rows, and what comes before and after.
    pub(super) fn matvec(
        &mut self,
        how: How<'_>,
        packed: &Packed,
        memory: &mut CpuMemory,
        matvec: &Matvec,
        step: Step,
    ) {
        let (variant, _) = how;
        let Projection { x, matrix, y, bias, epilogue } = &matvec.product;
        let rows = y.rows.count(step.rows);
        self.inputs.clear(packed.columns);
        for row in 0..rows {
            match matvec.prologue {
                Prologue::Plain => self.inputs.push(variant, memory.row(x, row)),
                prologue => self.inputs.push(variant, &prologue.complete(memory, x, row)),
            }
        }
        let first = (matrix.above + matrix.first_row) as usize;
        let end = first + matrix.rows as usize;
        let panels = first / PANEL..end.div_ceil(PANEL);
        self.panels.resize(panels.len() * self.inputs.rows(), [0.0; PANEL]);
        self.panels(how, packed, panels.clone());
        let skipped = first - panels.start * PANEL;
        for row in 0..rows {
            self.outputs.clear();
            for panel in self.panels.chunks_exact(self.inputs.rows()) {
                let [nearest, rest] = [0, 1].map(|part| panel[2 * row as usize + part]);
                self.outputs.extend(nearest.iter().zip(rest).map(|(nearest, rest)| nearest + rest));
            }
            let outputs = &mut self.outputs[skipped..][..end - first];
            add_bias(memory, *bias, outputs);
            let start = y.start(row) + matrix.first_row as usize;
            match *epilogue {
                Epilogue::Store => {
                    memory.buffer_mut(y.buffer)[start..][..outputs.len()].copy_from_slice(outputs);
                }
                Epilogue::Function(function) => {
                    variant.apply(function, outputs);
                    memory.buffer_mut(y.buffer)[start..][..outputs.len()].copy_from_slice(outputs);
                }
                Epilogue::Gate(function) => {
                    let (gates, ups) = outputs.split_at_mut(matrix.rows as usize / 2);
                    variant.apply(function, gates);
                    let y = &mut memory.buffer_mut(y.buffer)[start..];
                    for ((y, gate), up) in y.iter_mut().zip(gates).zip(ups) {
                        *y = *gate * *up;
                    }
                }
                epilogue => {
                    let together = matvec.outputs_of_a_workgroup() as usize;
                    epilogue.finish(memory, &matvec.product, step, row, outputs, together);
                }
            }
        }
    }
}

fn add_bias(memory: &CpuMemory, bias: Option<Buffer>, outputs: &mut [f32]) {
    for (output, bias) in outputs.iter_mut().zip(bias.iter().flat_map(|bias| memory.read(*bias))) {
        *output += bias;
    }
}
