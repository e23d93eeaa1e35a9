//! The recurrence of a Mamba-2 mixer in `f32`, a row at a time.

use super::functions::{exp, silu};
use crate::kernels::{ScanRow, ScanShape, softplus};

/// One row: every head's state moves on, and `y` is read from it.
#[inline(always)]
pub(super) fn scan_row(
    shape: ScanShape,
    row: &ScanRow<'_>,
    scalars: &[f32],
    state: &mut [f32],
    y: &mut [f32],
) {
    let heads = shape.head_count as usize;
    let group_heads = heads / shape.group_count as usize;
    let (head_dim, stride) = (shape.head_dim as usize, shape.head_stride() as usize);
    let (state_size, state_stride) = (shape.state_size as usize, shape.state_stride() as usize);
    let first_dt = (shape.inner() + shape.channels()) as usize;
    for head in 0..heads {
        let dt = softplus(f64::from(row.projected[first_dt + head]) + f64::from(scalars[head])) as f32;
        let decay = exp(dt * scalars[heads + head]);
        let x = &row.x[head * stride..][..stride];
        let group = head / group_heads * state_stride;
        let (b, c) = (&row.b[group..][..state_size], &row.c[group..][..state_size]);
        let state = &mut state[head * state_stride * stride..][..state_size * stride];
        let skip = scalars[2 * heads + head];
        let (z, y) = (&row.projected[head * head_dim..][..head_dim], &mut y[head * head_dim..][..head_dim]);
        let mut column = 0;
        while column < stride {
            let sums = move_on(state, stride, column, &x[column..], decay, dt, b, c);
            let columns = y[column.min(head_dim)..].iter_mut().zip(z[column.min(head_dim)..].iter());
            for (((y, z), sum), x) in columns.zip(sums).zip(&x[column..]) {
                *y = (sum + skip * x) * silu(*z);
            }
            column += LANES;
        }
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
        for ((state, x), sum) in state[column..column + LANES].iter_mut().zip(inputs).zip(&mut sums) {
            *state = *state * decay + b * x;
            *sum += *state * c;
        }
    }
    sums
}
