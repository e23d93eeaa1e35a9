//! Attention of one head in f32, over unpacked keys and values: one query at a time, or several
//! that share the loads of each key and value.

use std::ops::Range;

use super::functions::{exp, softcap};
use crate::kernels::{AttentionShape, CacheRows};

/// Independent partial sums of a reduction.
const LANES: usize = 16;

/// One query head of one row.
#[derive(Debug)]
pub(super) struct Query<'a> {
    /// Query, `[head_dim]`.
    pub(super) q: &'a [f32],
    /// Positions that it attends to, as indices into the unpacked keys and values.
    pub(super) visible: Range<usize>,
    /// Output, `[head_dim]`.
    pub(super) y: &'a mut [f32],
    /// Logit of the head's sink; −∞ if there is none.
    pub(super) sink: f32,
}

/// Transposes keys in groups of 16 positions, from `[positions, dim]` to
/// `[positions / 16, dim, 16]`; the last group is padded.
pub(super) fn transpose_keys(keys: &[f32], transposed: &mut Vec<f32>, dim: usize) {
    transposed.resize((keys.len() / dim).next_multiple_of(LANES) * dim, 0.0);
    for (keys, transposed) in keys.chunks(LANES * dim).zip(transposed.chunks_exact_mut(LANES * dim))
    {
        for (lane, key) in keys.chunks_exact(dim).enumerate() {
            for (lanes, element) in transposed.as_chunks_mut::<LANES>().0.iter_mut().zip(key) {
                lanes[lane] = *element;
            }
        }
    }
}

/// Unpacks one head's keys or values to f32, `[rows, dim]`, from `row` of the cache on; `first` is
/// the head's first column there.
#[inline(always)]
pub(super) fn unpack(
    rows: CacheRows,
    words: &[f32],
    row: usize,
    first: usize,
    dim: usize,
    elements: &mut [f32],
) {
    for (index, head) in elements.chunks_exact_mut(dim).enumerate() {
        rows.read(words, row + index, first, head);
    }
}

/// `y = softmax(scale · q · keysᵀ) · values` of one query.
#[inline(always)]
pub(super) fn attend(
    shape: &AttentionShape,
    Query { q, visible, y, sink }: &mut Query<'_>,
    keys: &[f32],
    values: &[f32],
    weights: &mut Vec<f32>,
) {
    let dim = q.len();
    let visible = visible.start * dim..visible.end * dim;
    weights.resize(visible.len() / dim, 0.0);
    for (weight, key) in weights.iter_mut().zip(keys[visible.clone()].chunks_exact(dim)) {
        *weight = dot(q, key);
    }
    let inverse = exponentiate(shape, weights, *sink);
    let mut column = 0;
    while column < dim {
        let values = &values[visible.clone()];
        column += match dim - column {
            64.. => weighted_sums::<64, 1>([weights], values, dim, column, [inverse], [&mut **y]),
            16.. => weighted_sums::<16, 1>([weights], values, dim, column, [inverse], [&mut **y]),
            _ => weighted_sums::<4, 1>([weights], values, dim, column, [inverse], [&mut **y]),
        };
    }
}

/// [`attend`] of many queries, `N` at a time, with keys of [`transpose_keys`].
#[inline(always)]
pub(super) fn attend_batch<const N: usize>(
    shape: &AttentionShape,
    queries: &mut [Query<'_>],
    transposed: &[f32],
    values: &[f32],
    weights: &mut Vec<f32>,
) {
    let (tiles, rest) = queries.as_chunks_mut::<N>();
    for tile in tiles {
        attend_tile(shape, tile, transposed, values, weights);
    }
    for query in rest {
        attend_tile(shape, std::array::from_mut(query), transposed, values, weights);
    }
}

#[inline(always)]
fn attend_tile<const N: usize>(
    shape: &AttentionShape,
    queries: &mut [Query<'_>; N],
    transposed: &[f32],
    values: &[f32],
    weights: &mut Vec<f32>,
) {
    let dim = shape.head_dim as usize;
    // Queries are in row order: the first sees the oldest position, the last the newest.
    let (start, end) = (queries[0].visible.start / LANES * LANES, queries[N - 1].visible.end);
    let width = (end - start).next_multiple_of(LANES);
    weights.resize(N * width, 0.0);
    for (index, keys) in
        transposed[start * dim..].chunks_exact(LANES * dim).take(width / LANES).enumerate()
    {
        let mut sums = [[0.0; LANES]; N];
        for (column, keys) in keys.as_chunks::<LANES>().0.iter().enumerate() {
            for (sums, query) in sums.iter_mut().zip(queries.iter()) {
                let q = query.q[column];
                for (sum, key) in sums.iter_mut().zip(keys) {
                    *sum += q * key;
                }
            }
        }
        for (weights, sums) in weights.chunks_exact_mut(width).zip(sums) {
            weights[index * LANES..][..LANES].copy_from_slice(&sums);
        }
    }
    let mut inverses = [0.0; N];
    for ((weights, query), inverse) in
        weights.chunks_exact_mut(width).zip(queries.iter()).zip(&mut inverses)
    {
        let visible = query.visible.start - start..query.visible.end - start;
        weights[..visible.start].fill(0.0);
        weights[visible.end..].fill(0.0);
        *inverse = exponentiate(shape, &mut weights[visible], query.sink);
    }
    let mut all = weights.chunks_exact(width);
    let weights = [(); N].map(|()| all.next().map_or(&[][..], |weights| &weights[..end - start]));
    let values = &values[start * dim..end * dim];
    let mut ys = queries.each_mut().map(|query| &mut *query.y);
    let mut column = 0;
    while column < dim {
        let ys = ys.each_mut().map(|y| &mut **y);
        column += match dim - column {
            16.. => weighted_sums::<16, N>(weights, values, dim, column, inverses, ys),
            _ => weighted_sums::<4, N>(weights, values, dim, column, inverses, ys),
        };
    }
}

/// Replaces scores by their softmax numerators; returns the inverse of the denominator.
#[inline(always)]
fn exponentiate(shape: &AttentionShape, weights: &mut [f32], sink: f32) -> f32 {
    weights.iter_mut().for_each(|weight| *weight *= shape.scale);
    if let Some(cap) = shape.softcap {
        weights.iter_mut().for_each(|weight| *weight = softcap(*weight, cap));
    }
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for weights in weights.chunks(LANES) {
        for (lane, weight) in lanes.iter_mut().zip(weights) {
            *lane = if *weight > *lane { *weight } else { *lane };
        }
    }
    let largest = lanes.into_iter().fold(f32::NEG_INFINITY, f32::max);
    weights.iter_mut().for_each(|weight| *weight = exp(*weight - largest));
    let mut totals = [0.0; LANES];
    for weights in weights.chunks(LANES) {
        totals.iter_mut().zip(weights).for_each(|(total, weight)| *total += weight);
    }
    // Without a sink the second summand is too small to change the first.
    1.0 / (totals.iter().sum::<f32>() + exp(sink - largest))
}

/// Writes `COLUMNS` columns of the weighted sums of values for `N` queries; returns `COLUMNS`.
#[inline(always)]
fn weighted_sums<const COLUMNS: usize, const N: usize>(
    weights: [&[f32]; N],
    values: &[f32],
    dim: usize,
    column: usize,
    inverses: [f32; N],
    ys: [&mut [f32]; N],
) -> usize {
    let mut sums = [[0.0; COLUMNS]; N];
    let count = values.len() / dim;
    let weights = weights.map(|weights| &weights[..count]);
    for (position, value) in values.chunks_exact(dim).enumerate() {
        let value = &value[column..column + COLUMNS];
        for (sums, weights) in sums.iter_mut().zip(weights) {
            let weight = weights[position];
            for (sum, value) in sums.iter_mut().zip(value) {
                *sum += weight * value;
            }
        }
    }
    for ((y, sums), inverse) in ys.into_iter().zip(sums).zip(inverses) {
        for (y, sum) in y[column..column + COLUMNS].iter_mut().zip(sums) {
            *y = sum * inverse;
        }
    }
    COLUMNS
}

/// `Σ a·b`.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0] + rest
}
