//! The gated short convolution of LFM2 in f32, its rows distributed over threads.

use super::Context;
use super::rows::for_each_row;
use crate::kernels::{CpuMemory, ShortConv, Step};

/// Runs [`ShortConv`].
pub(super) fn run(
    (variant, threads): Context<'_>,
    memory: &mut CpuMemory,
    conv: &ShortConv,
    step: Step,
) {
    let width = conv.y.width as usize;
    let weights = newest_first(memory.read(conv.weights), width, conv.kernel as usize);
    for_each_row(threads, memory, &conv.y, step, |memory, row, y| {
        let ring = memory.read(conv.ring);
        let seen = conv.kernel.min(row + 1);
        let rows: Vec<_> = (0..seen).map(|back| conv.inputs(memory, row - back)).collect();
        let past = seen..conv.kernel;
        let past: Vec<_> =
            past.map(|back| &ring[conv.slot_before(step, row, back)..][..width]).collect();
        variant.convolve_gated(&weights, &rows, &past, &mut y[..width]);
    });
    conv.store_products(memory, step);
}

/// Transposes weights `[width, kernel]` to `[kernel, width]`, that of the current row first, so
/// that the loop over columns reads them in order.
fn newest_first(weights: &[f32], width: usize, kernel: usize) -> Vec<f32> {
    let columns = |back| (0..width).map(move |column| weights[(column + 1) * kernel - 1 - back]);
    (0..kernel).flat_map(columns).collect()
}
