//! The mixer of a Mamba-2 layer in `f32`: its convolution, a row at a time, and its recurrence, a head at
//! a time.

use super::functions::{exp, silu};
use super::{CpuVariant, Threads, pieces};
use crate::kernels::{ScanRow, ScanShape, softplus};

/// Elements of the state that move on in a nanosecond: roughly.
const ELEMENTS_A_NS: usize = 2;

/// A row after the convolution: of what went in so many rows ago, all channels each.
#[inline(always)]
pub(super) fn convolve(conv: &[f32], inputs: &[&[f32]], y: &mut [f32]) {
    let (kernel, channels) = (inputs.len(), y.len());
    y.copy_from_slice(&conv[channels * kernel..][..channels]);
    for (back, input) in inputs.iter().enumerate() {
        for ((y, weights), input) in y.iter_mut().zip(conv.chunks_exact(kernel)).zip(*input) {
            *y += weights[kernel - 1 - back] * input;
        }
    }
    y.iter_mut().for_each(|y| *y = silu(*y));
}

/// Rows of the recurrence, its heads shared out: `y` has `stride` words a row.
pub(super) fn scan(
    (variant, threads): (CpuVariant, &Threads),
    shape: ScanShape,
    rows: &[ScanRow<'_>],
    scalars: &[f32],
    state: &mut [f32],
    (y, stride): (&mut [f32], usize),
) {
    let head_words = (shape.state_stride() * shape.head_stride()) as usize;
    let heads = shape.head_count as usize;
    let together = threads.together(heads, head_words * rows.len() / ELEMENTS_A_NS);
    let y = pieces(y, stride, together * shape.head_dim as usize);
    let parts = (0..heads).step_by(together).zip(state.chunks_mut(together * head_words)).zip(y);
    threads.each(parts, |((first, state), mut y)| {
        // Head by head, so that its state stays near.
        for (index, state) in state.chunks_exact_mut(head_words).enumerate() {
            for (row, y) in rows.iter().zip(&mut y) {
                let y = &mut y[index * shape.head_dim as usize..][..shape.head_dim as usize];
                variant.scan_row(shape, first + index, row, scalars, state, y);
            }
        }
    });
}

/// One row of a head: its state moves on, and `y` is read from it.
#[inline(always)]
pub(super) fn scan_row(
    shape: ScanShape,
    head: usize,
    row: &ScanRow<'_>,
    scalars: &[f32],
    state: &mut [f32],
    y: &mut [f32],
) {
    let heads = shape.head_count as usize;
    let (head_dim, stride) = (shape.head_dim as usize, shape.head_stride() as usize);
    let state_size = shape.state_size as usize;
    let first_dt = (shape.inner() + shape.channels()) as usize;
    let dt = softplus(f64::from(row.projected[first_dt + head]) + f64::from(scalars[head])) as f32;
    let decay = exp(dt * scalars[heads + head]);
    let x = &row.x[head * stride..][..stride];
    let group = head / (heads / shape.group_count as usize) * shape.state_stride() as usize;
    let (b, c) = (&row.b[group..][..state_size], &row.c[group..][..state_size]);
    let skip = scalars[2 * heads + head];
    let z = &row.projected[head * head_dim..][..head_dim];
    let mut column = 0;
    while column < stride {
        let sums = move_on(
            &mut state[..state_size * stride],
            stride,
            column,
            &x[column..],
            decay,
            dt,
            b,
            c,
        );
        let columns = y[column.min(head_dim)..].iter_mut().zip(z[column.min(head_dim)..].iter());
        for (((y, z), sum), x) in columns.zip(sums).zip(&x[column..]) {
            *y = (sum + skip * x) * silu(*z);
        }
        column += LANES;
    }
}

/// Columns that are moved on together; divides what heads are apart.
const LANES: usize = 16;

/// Moves some columns of a head's state on; returns what is read of them.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the recurrence has them")]
fn move_on(
    state: &mut [f32],
    stride: usize,
    column: usize,
    x: &[f32],
    decay: f32,
    dt: f32,
    b: &[f32],
    c: &[f32],
) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    let mut inputs = [0.0; LANES];
    inputs.copy_from_slice(&x[..LANES]);
    inputs.iter_mut().for_each(|x| *x *= dt);
    for ((state, b), c) in state.chunks_exact_mut(stride).zip(b).zip(c) {
        for ((state, x), sum) in state[column..column + LANES].iter_mut().zip(inputs).zip(&mut sums)
        {
            *state = *state * decay + b * x;
            *sum += *state * c;
        }
    }
    sums
}
