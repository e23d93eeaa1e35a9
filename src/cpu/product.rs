//! A product with a packed matrix, and what it takes on: inputs rounded, panels, then each row of outputs
//! as its kernel means it, all three shared out.

use super::inputs::InputMemory;
use super::packed::PANEL;
use super::panels::Panels;
use super::{CpuVariant, Threads, pieces};
use crate::formats::UNIT;
use crate::kernels::{Buffer, CpuMemory, Epilogue, Matmul, Matvec, Prologue, Step, Written};

/// By which instructions, and on which threads.
type How<'a> = (CpuVariant, &'a Threads);

/// Products in a nanosecond, and what rounding or finishing a number takes: roughly.
const PRODUCTS_A_NS: usize = 64;
const NUMBER_NS: usize = 1;
/// Rows of the largest tile.
const TILE_ROWS: usize = 8;

/// Memory of products, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Products {
    inputs: InputMemory,
    /// Inputs as they are, filled up with zeros to whole units.
    numbers: Vec<f32>,
    outputs: Vec<f32>,
}

impl Products {
    /// Weights × many rows.
    pub(super) fn matmul(
        &mut self,
        how: How<'_>,
        panels: &Panels,
        memory: &mut CpuMemory,
        Matmul { product, .. }: &Matmul,
        step: Step,
    ) {
        let matvec = Matvec::new(product.clone());
        self.matvec(how, panels, memory, &matvec, step);
    }

    /// Weights × few rows, and what comes before and after.
    pub(super) fn matvec(
        &mut self,
        how: How<'_>,
        matrix: &Panels,
        memory: &mut CpuMemory,
        matvec: &Matvec,
        step: Step,
    ) {
        let (variant, threads) = how;
        let (product, columns) = (&matvec.product, matvec.product.matrix.columns as usize);
        let rows = product.y.rows.count(step.rows) as usize;
        match matrix {
            Panels::Integers(_) => {
                let rows = self.inputs.rows(rows, columns);
                each_input(threads, memory, matvec, rows, |row, blocks| variant.round(row, blocks));
            }
            Panels::Floats(_) => {
                let stride = columns.next_multiple_of(UNIT);
                self.numbers.resize(rows * stride, 0.0);
                let rows = self.numbers.chunks_exact_mut(stride);
                each_input(threads, memory, matvec, rows, |row, numbers| {
                    numbers[..columns].copy_from_slice(row);
                    numbers[columns..].fill(0.0);
                });
            }
        }
        let first = (product.matrix.above + product.matrix.first_row) as usize;
        let end = first + product.matrix.rows as usize;
        let panels = first / PANEL..end.div_ceil(PANEL);
        let width = panels.len() * PANEL;
        self.outputs.resize(rows * width, 0.0);
        // Each thread has rows of its own, if there are enough: what one wrote need not come to another.
        let rows_of_a_share = rows.div_ceil(threads.count()).next_multiple_of(TILE_ROWS).min(rows);
        let shares = rows.div_ceil(rows_of_a_share);
        let together = threads
            .together(panels.len() * shares, PANEL * columns * rows_of_a_share / PRODUCTS_A_NS);
        let shares =
            (0..).step_by(rows_of_a_share).zip(self.outputs.chunks_mut(rows_of_a_share * width));
        let parts = shares.flat_map(|(row, outputs)| {
            let pieces = pieces(outputs, width, together * PANEL);
            panels.clone().step_by(together).zip(pieces).map(move |(first, y)| (row, first, y))
        });
        let (inputs, numbers) = (&self.inputs, &self.numbers);
        threads.each(parts, |(row, first, mut y)| {
            let panels = first..panels.end.min(first + together);
            match matrix {
                Panels::Integers(packed) => {
                    variant.products(packed, panels, inputs.from(row, columns), &mut y)
                }
                Panels::Floats(floats) => {
                    let numbers = &numbers[row * columns.next_multiple_of(UNIT)..];
                    variant.float_products(floats, panels, numbers, &mut y);
                }
            }
        });
        let skipped = first - panels.start * PANEL;
        product.epilogue.write(memory, product.y, step, |memory, written| {
            let mut rows: Vec<_> =
                (0..).zip(written).zip(self.outputs.chunks_exact_mut(width)).collect();
            let together = threads.together(rows.len(), width * NUMBER_NS);
            threads.each(rows.chunks_mut(together), |rows| {
                for ((row, written), outputs) in rows {
                    let outputs = &mut outputs[skipped..][..end - first];
                    add_bias(memory, product.bias, outputs);
                    finish(variant, memory, matvec, step, *row, outputs, written);
                }
            });
        });
    }
}

/// Makes what panels take of each row of inputs, which is shared out.
fn each_input<T: Send>(
    threads: &Threads,
    memory: &CpuMemory,
    matvec: &Matvec,
    rows: impl Iterator<Item = T>,
    make: impl Fn(&[f32], &mut T) + Sync,
) {
    let x = &matvec.product.x;
    let mut rows: Vec<_> = (0..).zip(rows).collect();
    let together = threads.together(rows.len(), x.width as usize * NUMBER_NS);
    threads.each(rows.chunks_mut(together), |rows| {
        for (row, made) in rows {
            match matvec.prologue {
                Prologue::Plain => make(memory.row(x, *row), made),
                prologue => make(&prologue.complete(memory, x, *row), made),
            }
        }
    });
}

fn add_bias(memory: &CpuMemory, bias: Option<Buffer>, outputs: &mut [f32]) {
    for (output, bias) in outputs.iter_mut().zip(bias.iter().flat_map(|bias| memory.read(*bias))) {
        *output += bias;
    }
}

/// What becomes of a row of outputs.
fn finish(
    variant: CpuVariant,
    memory: &CpuMemory,
    matvec: &Matvec,
    step: Step,
    row: u32,
    outputs: &mut [f32],
    written: &mut Written<'_>,
) {
    let y = &mut written[0];
    match matvec.product.epilogue {
        Epilogue::Function(function) => {
            variant.apply(function, outputs);
            y[matvec.product.matrix.first_row as usize..][..outputs.len()].copy_from_slice(outputs);
        }
        Epilogue::Gate(function) => {
            let (gates, ups) = outputs.split_at_mut(matvec.product.matrix.rows as usize / 2);
            variant.apply(function, gates);
            let y = &mut y[matvec.product.matrix.first_row as usize..];
            for ((y, gate), up) in y.iter_mut().zip(gates).zip(ups) {
                *y = *gate * *up;
            }
        }
        // Here nobody asks for the best of logits.
        Epilogue::Best { .. } => {
            y[matvec.product.matrix.first_row as usize..][..outputs.len()].copy_from_slice(outputs);
        }
        epilogue => {
            let together = matvec.outputs_of_a_workgroup() as usize;
            epilogue.finish(memory, &matvec.product, step, row, outputs, written, together);
        }
    }
}
