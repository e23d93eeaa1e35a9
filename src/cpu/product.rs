//! Matrix products with a packed matrix in three phases, each distributed over the threads:
//! prologue and quantization of the inputs, micro-kernels over panels, epilogue of each output row.

use std::ops::Range;

use super::Context;
use super::epilogue::{finish, transformed_inputs};
use super::inputs::InputArena;
use super::integer_panels::PANEL;
use super::packed_matrix::PackedMatrix;
use super::threads::{Threads, split_columns};
use crate::formats::UNIT;
use crate::kernels::{CpuMemory, Matmul, Matvec, Prologue, Step};

/// Rough throughput of the micro-kernels: multiply-adds per nanosecond.
const MULTIPLY_ADDS_PER_NS: usize = 64;
/// Rough nanoseconds to quantize an input or to finish an output.
const ELEMENT_NS: usize = 1;
/// Rows of the largest micro-kernel.
const TILE_ROWS: usize = 8;

/// Scratch memory of matrix products, reused between kernels.
#[derive(Debug, Default)]
pub(super) struct ProductScratch {
    /// Inputs of integer products.
    inputs: InputArena,
    /// Inputs of float products, padded with zeros to whole units.
    floats: Vec<f32>,
    /// Outputs, `[rows, panels · PANEL]`.
    outputs: Vec<f32>,
}

impl ProductScratch {
    /// Runs a product of many rows.
    pub(super) fn matmul(
        &mut self,
        context: Context<'_>,
        matrix: &PackedMatrix,
        memory: &mut CpuMemory,
        Matmul { product, .. }: &Matmul,
        step: Step,
    ) {
        self.matvec(context, matrix, memory, &Matvec::new(product.clone()), step);
    }

    /// Runs a product of any number of rows with its prologue and epilogue.
    pub(super) fn matvec(
        &mut self,
        context: Context<'_>,
        matrix: &PackedMatrix,
        memory: &mut CpuMemory,
        matvec: &Matvec,
        step: Step,
    ) {
        let (variant, threads) = context;
        let product = &matvec.product;
        let rows = product.y.rows.count(step.rows) as usize;
        self.pack_inputs(context, matrix, memory, matvec, rows);
        let first = (product.matrix.row_offset + product.matrix.first_row) as usize;
        let end = first + product.matrix.rows as usize;
        let panels = first / PANEL..end.div_ceil(PANEL);
        let width = panels.len() * PANEL;
        let skipped = first - panels.start * PANEL;
        self.multiply(context, matrix, product.matrix.columns as usize, panels, rows);
        product.epilogue.write(memory, product.y, step, |memory, written| {
            let mut rows: Vec<_> =
                (0..).zip(written).zip(self.outputs.chunks_exact_mut(width)).collect();
            let per_task = threads.items_per_task(rows.len(), width * ELEMENT_NS);
            threads.for_each(rows.chunks_mut(per_task), |rows| {
                for ((row, written), outputs) in rows {
                    let outputs = &mut outputs[skipped..][..end - first];
                    finish(variant, memory, product, step, *row, outputs, written);
                }
            });
        });
    }

    /// Applies the prologue to each input row and converts it to the micro-kernel's layout.
    fn pack_inputs(
        &mut self,
        (variant, threads): Context<'_>,
        matrix: &PackedMatrix,
        memory: &CpuMemory,
        matvec: &Matvec,
        rows: usize,
    ) {
        let columns = matvec.product.matrix.columns as usize;
        match matrix {
            PackedMatrix::Integers(_) => {
                let rows = self.inputs.rows(rows, columns);
                for_each_input(threads, memory, matvec, rows, |row, blocks| {
                    variant.quantize(row, blocks);
                });
            }
            PackedMatrix::Floats(_) => {
                let stride = columns.next_multiple_of(UNIT);
                self.floats.resize(rows * stride, 0.0);
                let rows = self.floats.chunks_exact_mut(stride);
                for_each_input(threads, memory, matvec, rows, |row, padded| {
                    padded[..columns].copy_from_slice(row);
                    padded[columns..].fill(0.0);
                });
            }
        }
    }

    /// Multiplies panels by the packed inputs into `self.outputs`.
    fn multiply(
        &mut self,
        (variant, threads): Context<'_>,
        matrix: &PackedMatrix,
        columns: usize,
        panels: Range<usize>,
        rows: usize,
    ) {
        let width = panels.len() * PANEL;
        self.outputs.resize(rows * width, 0.0);
        // Tasks are in order of row blocks: with enough rows, a thread reads only inputs that it
        // packed itself.
        let block_rows = rows.div_ceil(threads.count()).next_multiple_of(TILE_ROWS).min(rows);
        let block_count = rows.div_ceil(block_rows);
        let panel_ns = PANEL * columns * block_rows / MULTIPLY_ADDS_PER_NS;
        let per_task = threads.items_per_task(panels.len() * block_count, panel_ns);
        let blocks = (0..).step_by(block_rows).zip(self.outputs.chunks_mut(block_rows * width));
        let tasks = blocks.flat_map(|(row, outputs)| {
            let columns = split_columns(outputs, width, per_task * PANEL);
            panels.clone().step_by(per_task).zip(columns).map(move |(first, y)| (row, first, y))
        });
        let (inputs, floats) = (&self.inputs, &self.floats);
        threads.for_each(tasks, |(row, first, mut y)| {
            let panels = first..panels.end.min(first + per_task);
            match matrix {
                PackedMatrix::Integers(matrix) => {
                    variant.products(matrix, panels, inputs.from(row, columns), &mut y)
                }
                PackedMatrix::Floats(matrix) => {
                    let inputs = &floats[row * columns.next_multiple_of(UNIT)..];
                    variant.float_products(matrix, panels, inputs, &mut y);
                }
            }
        });
    }
}

/// Calls `pack` with each input row after its prologue, distributed over the threads.
fn for_each_input<T: Send>(
    threads: &Threads,
    memory: &CpuMemory,
    matvec: &Matvec,
    rows: impl Iterator<Item = T>,
    pack: impl Fn(&[f32], &mut T) + Sync,
) {
    let x = &matvec.product.x;
    let mut rows: Vec<_> = (0..).zip(rows).collect();
    let per_task = threads.items_per_task(rows.len(), x.width as usize * ELEMENT_NS);
    threads.for_each(rows.chunks_mut(per_task), |rows| {
        for (row, packed) in rows {
            match matvec.prologue {
                Prologue::Plain => pack(memory.row(x, *row), packed),
                prologue => pack(&transformed_inputs(prologue, memory, x, *row), packed),
            }
        }
    });
}
