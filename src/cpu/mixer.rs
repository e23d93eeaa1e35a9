//! Kernels of a Mamba-2 mixer: the convolution over the rows of a step, then the recurrence. The
//! loops over one row are in [`super::recurrence`].

use super::Context;
use super::epilogue::sum_of_squares;
use super::recurrence::ScanRow;
use super::rows::for_each_row;
use super::scan::scan;
use crate::kernels::{Activation, CpuMemory, ScanShape, SsmConv, SsmScan, SsmStep, Step};

/// Runs [`SsmConv`].
pub(super) fn conv(
    (variant, threads): Context<'_>,
    memory: &mut CpuMemory,
    conv: &SsmConv,
    step: Step,
) {
    let shape = conv.shape;
    let (kernel, channels) = (shape.conv_kernel, shape.channels() as usize);
    let inner = shape.inner() as usize;
    for_each_row(threads, memory, &conv.y, step, |memory, row, y| {
        let ring = memory.read(conv.buffers.ring);
        let input = |back: u32| match row.checked_sub(back) {
            Some(row) => &memory.row(&conv.projected, row)[inner..][..channels],
            None => &ring[shape.ring_slot(step.position + row + kernel - back)..][..channels],
        };
        let inputs: Vec<_> = (0..kernel).map(input).collect();
        let mut convolved = vec![0.0; channels];
        variant.convolve(memory.read(conv.buffers.conv), &inputs, &mut convolved);
        pad(shape, &convolved, &mut y[..conv.y.width as usize]);
    });
    memory.update(conv.buffers.ring, |memory, ring| {
        for row in step.rows.saturating_sub(kernel)..step.rows {
            let inputs = &memory.row(&conv.projected, row)[inner..][..channels];
            ring[shape.ring_slot(step.position + row)..][..channels].copy_from_slice(inputs);
        }
    });
}

/// Copies the channels `x | B | C` of a row to the padded layout of [`ScanShape::convolved`].
fn pad(shape: ScanShape, convolved: &[f32], padded: &mut [f32]) {
    padded.fill(0.0);
    let (x, b_and_c) = convolved.split_at(shape.inner() as usize);
    let [_, first_b, ..] = shape.convolved().map(|column| column as usize);
    let (heads, groups) = padded.split_at_mut(first_b);
    for (padded, values, size, stride) in [
        (heads, x, shape.head_dim, shape.head_stride()),
        (groups, b_and_c, shape.state_size, shape.state_stride()),
    ] {
        let padded = padded.chunks_exact_mut(stride as usize);
        for (padded, values) in padded.zip(values.chunks_exact(size as usize)) {
            padded[..values.len()].copy_from_slice(values);
        }
    }
}

/// Inputs of the recurrence: splits a convolved row into x, B and C.
fn split_row<'a>(shape: ScanShape, projected: &'a [f32], convolved: &'a [f32]) -> ScanRow<'a> {
    let [_, b, c, end] = shape.convolved().map(|column| column as usize);
    ScanRow { projected, x: &convolved[..b], b: &convolved[b..c], c: &convolved[c..end] }
}

/// Runs [`SsmScan`].
pub(super) fn run_scan(context: Context<'_>, memory: &mut CpuMemory, kernel: &SsmScan, step: Step) {
    let shape = kernel.shape;
    memory.update(kernel.y.buffer, |memory, y| {
        memory.update(kernel.buffers.state, |memory, state| {
            let row = |row| {
                split_row(shape, memory.row(&kernel.projected, row), memory.row(&kernel.x, row))
            };
            let rows: Vec<_> = (0..step.rows).map(row).collect();
            let y = (&mut y[..kernel.y.start(step.rows)], kernel.y.stride as usize);
            scan(context, shape, &rows, memory.read(kernel.buffers.scalars), state, y);
        });
    });
}

/// Runs [`SsmStep`].
pub(super) fn run_step(context: Context<'_>, memory: &mut CpuMemory, kernel: &SsmStep, step: Step) {
    if step.rows == 0 {
        return;
    }
    let shape = kernel.shape;
    let (inner, channels) = (shape.inner() as usize, shape.channels() as usize);
    memory.update(kernel.buffers.ring, |memory, ring| {
        let inputs = &memory.row(&kernel.projected, 0)[inner..][..channels];
        ring[shape.ring_slot(step.position)..][..channels].copy_from_slice(inputs);
    });
    let ring = memory.read(kernel.buffers.ring);
    let slot = |back| shape.ring_slot(step.position + shape.conv_kernel - back);
    let inputs = (0..shape.conv_kernel).map(|back| &ring[slot(back)..][..channels]);
    let inputs: Vec<_> = inputs.collect();
    let mut convolved = vec![0.0; channels];
    context.0.convolve(memory.read(kernel.buffers.conv), &inputs, &mut convolved);
    let mut padded = vec![0.0; shape.convolved_width() as usize];
    pad(shape, &convolved, &mut padded);
    memory.update(kernel.y.buffer, |memory, y| {
        let stride = kernel.y.stride as usize;
        memory.update(kernel.buffers.state, |memory, state| {
            let row = split_row(shape, memory.row(&kernel.projected, 0), &padded);
            let scalars = memory.read(kernel.buffers.scalars);
            scan(context, shape, &[row], scalars, state, (&mut y[..stride], stride));
        });
        if let Some(weight) = kernel.weight {
            let (columns, sums) = y.split_at_mut(Activation::stride_of(shape.inner()) as usize);
            let heads = columns[..inner].chunks_exact(shape.head_dim as usize);
            sums.fill(0.0);
            sums.iter_mut().zip(heads).for_each(|(sum, head)| *sum = sum_of_squares(head));
            columns.iter_mut().zip(memory.read(weight)).for_each(|(y, weight)| *y *= weight);
        }
    });
}
