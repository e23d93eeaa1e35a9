//! Recurrence of a Mamba-2 mixer, its heads distributed over threads.

use super::Context;
use super::recurrence::ScanRow;
use super::threads::split_columns;
use crate::kernels::ScanShape;

/// Rough throughput: state elements advanced per nanosecond.
const ELEMENTS_PER_NS: usize = 2;

/// Runs the recurrence over `rows`: `state` is `[heads, state_stride, head_stride]`, `y` has
/// `stride` words per row.
pub(super) fn scan(
    (variant, threads): Context<'_>,
    shape: ScanShape,
    rows: &[ScanRow<'_>],
    scalars: &[f32],
    state: &mut [f32],
    (y, stride): (&mut [f32], usize),
) {
    let head_words = (shape.state_stride() * shape.head_stride()) as usize;
    let (heads, head_dim) = (shape.head_count as usize, shape.head_dim as usize);
    let per_task = threads.items_per_task(heads, head_words * rows.len() / ELEMENTS_PER_NS);
    let y = split_columns(y, stride, per_task * head_dim);
    let tasks = (0..heads).step_by(per_task).zip(state.chunks_mut(per_task * head_words)).zip(y);
    threads.for_each(tasks, |((first, state), mut y)| {
        // Head by head, so that a head's state stays in the cache.
        for (index, state) in state.chunks_exact_mut(head_words).enumerate() {
            for (row, y) in rows.iter().zip(&mut y) {
                let y = &mut y[index * head_dim..][..head_dim];
                variant.scan_row(shape, first + index, row, scalars, state, y);
            }
        }
    });
}
