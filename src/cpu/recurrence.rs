//! Loops of recurrent layers in f32: causal convolutions of one row, and one step of a Mamba-2
//! head's recurrence.

use super::functions::{exp, silu};
use crate::kernels::ScanShape;

/// One row of inputs of the recurrence.
pub(super) struct ScanRow<'a> {
    /// Row of the input projection, which holds z and dt.
    pub(super) projected: &'a [f32],
    /// x, `[heads, head_stride]`.
    pub(super) x: &'a [f32],
    /// B, `[groups, state_stride]`.
    pub(super) b: &'a [f32],
    /// C, `[groups, state_stride]`.
    pub(super) c: &'a [f32],
}

/// `ln(1 + e^x)`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Causal depthwise convolution of one row, then SiLU: `inputs[i]` are the inputs `i` rows ago, all
/// channels; `conv` holds `[channels, kernel]` weights, then `[channels]` biases.
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

/// Gated short convolution of one row: `rows` are B, C and u of the row and of the step's rows
/// before it, `past` the products of still earlier rows, newest first; `weights` is
/// `[kernel, width]` in that order.
#[inline(always)]
pub(super) fn convolve_gated(
    weights: &[f32],
    rows: &[[&[f32]; 3]],
    past: &[&[f32]],
    y: &mut [f32],
) {
    y.fill(0.0);
    let mut weights = weights.chunks_exact(y.len());
    for ([b, _, u], weights) in rows.iter().zip(&mut weights) {
        for (((y, weight), b), u) in y.iter_mut().zip(weights).zip(*b).zip(*u) {
            *y += weight * (b * u);
        }
    }
    for (products, weights) in past.iter().zip(weights) {
        for ((y, weight), product) in y.iter_mut().zip(weights).zip(*products) {
            *y += weight * product;
        }
    }
    let [_, c, _] = rows[0];
    y.iter_mut().zip(c).for_each(|(y, c)| *y *= c);
}

/// Advances one head's state by one row and computes its outputs `y`, `[head_dim]` (Dao & Gu 2024):
/// `state = state · e^(dt · A) + dt · x ⊗ b`, `y = (state · c + skip · x) · SiLU(z_scale · z)`, or
/// without the gate.
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
    let dt = f64::from(shape.dt_scale) * f64::from(row.projected[first_dt + head]);
    let dt = softplus(dt + f64::from(scalars[head])) as f32;
    let decay = exp(dt * scalars[heads + head]);
    let x = &row.x[head * stride..][..stride];
    let group = head / (heads / shape.group_count as usize) * shape.state_stride() as usize;
    let (b, c) = (&row.b[group..][..state_size], &row.c[group..][..state_size]);
    let skip = scalars[2 * heads + head];
    let z = &row.projected[head * head_dim..][..head_dim];
    let mut column = 0;
    while column < stride {
        let sums = advance(
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
            let gate = shape.z_scale.map_or(1.0, |scale| silu(scale * z));
            *y = (sum + skip * x) * gate;
        }
        column += LANES;
    }
}

/// Columns that are advanced together; divides [`ScanShape::head_stride`].
const LANES: usize = 16;

/// Advances `LANES` columns of a head's state; returns their products with `c`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the terms of the recurrence")]
fn advance(
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
