//! Attention of one head in f32, over unpacked keys and values: one query at a time, or several
//! that share the loads of each key and value.

use std::ops::Range;

use bytemuck::must_cast;

use super::functions::{exp, softcap};
use super::integer_panels::{Halves, PANEL};
use super::prefetch::prefetch;
use crate::kernels::{AttentionShape, CacheFormat, CacheRows};

/// Independent partial sums of a reduction.
const LANES: usize = 16;
/// Positions that are unpacked at a time: 16 KB of heads of 128 elements.
const TILE: usize = 32;
/// Rows by which [`prefetch`] is ahead.
const ROWS_AHEAD: usize = 24;

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
/// the head's first column there. `widen` converts sixteen f16, if there are instructions for it.
#[inline(always)]
pub(super) fn unpack(
    rows: CacheRows,
    words: &[f32],
    row: usize,
    first: usize,
    dim: usize,
    elements: &mut [f32],
    widen: Option<impl Fn(&Halves) -> [f32; PANEL]>,
) {
    let is_whole = rows.format == CacheFormat::F16 && (first | dim).is_multiple_of(PANEL);
    let widen = widen.filter(|_| is_whole);
    for (index, head) in elements.chunks_exact_mut(dim).enumerate() {
        let Some(widen) = &widen else {
            rows.read(words, row + index, first, head);
            continue;
        };
        // Two to a word, the first in the lower half.
        let start = (row + index) * rows.words() as usize + first / 2;
        let halves = words[start..][..dim / 2].as_chunks::<{ PANEL / 2 }>().0;
        // A head's rows are apart, so that the processor does not foresee them.
        let later = start + ROWS_AHEAD * rows.words() as usize;
        prefetch(words.get(later..later + dim / 2).unwrap_or_default());
        for (elements, halves) in head.as_chunks_mut::<PANEL>().0.iter_mut().zip(halves) {
            *elements = widen(&Halves(must_cast(*halves)));
        }
    }
}

/// Keys or values of one head in a cache.
#[derive(Debug, Clone)]
pub(super) struct HeadCache<'a> {
    /// Rows of the cache.
    pub(super) rows: CacheRows,
    /// Words of the cache.
    pub(super) words: &'a [f32],
    /// Rows of the positions, in their order.
    pub(super) held: [Range<u32>; 2],
    /// First column of the head.
    pub(super) first: usize,
}

impl HeadCache<'_> {
    /// Unpacks all rows, `[positions, dim]`, and calls `use_tile` with each tile of at most
    /// [`TILE`] positions and its first one.
    #[inline(always)]
    fn for_each_tile(
        &self,
        dim: usize,
        tile: &mut Vec<f32>,
        widen: Option<impl Fn(&Halves) -> [f32; PANEL] + Copy>,
        mut use_tile: impl FnMut(usize, &[f32]),
    ) {
        tile.resize(TILE * dim, 0.0);
        let mut position = 0;
        for held in &self.held {
            for row in held.clone().step_by(TILE) {
                let count = (held.end - row).min(TILE as u32) as usize;
                let elements = &mut tile[..count * dim];
                unpack(self.rows, self.words, row as usize, self.first, dim, elements, widen);
                use_tile(position, elements);
                position += count;
            }
        }
    }
}

/// Scratch memory of [`attend`].
#[derive(Debug, Default)]
pub(super) struct AttendScratch {
    tile: Vec<f32>,
    /// Softmax weights, `[queries, positions]`.
    weights: Vec<f32>,
}

/// `y = softmax(scale · q · keysᵀ) · values` of a few queries, which share the unpacked tiles of
/// keys and of values while these are in the nearest cache. `widen` is as in [`unpack`];
/// `dot(a, b)` is `Σ a · b`, and `multiply_add(a, b, c)` is `a · b + c`.
#[inline(always)]
pub(super) fn attend(
    shape: &AttentionShape,
    queries: &mut [Query<'_>],
    [keys, values]: [&HeadCache<'_>; 2],
    AttendScratch { tile, weights }: &mut AttendScratch,
    widen: Option<impl Fn(&Halves) -> [f32; PANEL] + Copy>,
    dot: impl Fn(&[f32], &[f32]) -> f32,
    multiply_add: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    let dim = shape.head_dim as usize;
    let positions: usize = keys.held.iter().map(|held| held.len()).sum();
    weights.resize(queries.len() * positions, 0.0);
    let seen = |query: &Query<'_>, first: usize, count: usize| {
        query.visible.start.max(first)..query.visible.end.min(first + count)
    };
    keys.for_each_tile(dim, tile, widen, |first, keys| {
        for (query, weights) in queries.iter().zip(weights.chunks_exact_mut(positions)) {
            for position in seen(query, first, keys.len() / dim) {
                let key = &keys[(position - first) * dim..][..dim];
                weights[position] = dot(query.q, key);
            }
        }
    });
    let mut inverses = Vec::with_capacity(queries.len());
    for (query, weights) in queries.iter_mut().zip(weights.chunks_exact_mut(positions)) {
        inverses.push(exponentiate(shape, &mut weights[query.visible.clone()], query.sink));
        query.y.fill(0.0);
    }
    values.for_each_tile(dim, tile, widen, |first, values| {
        for (query, weights) in queries.iter_mut().zip(weights.chunks_exact(positions)) {
            let seen = seen(query, first, values.len() / dim);
            if !seen.is_empty() {
                let values = &values[(seen.start - first) * dim..];
                add_weighted(&weights[seen], values, query.y, multiply_add);
            }
        }
    });
    for (query, inverse) in queries.iter_mut().zip(inverses) {
        query.y.iter_mut().for_each(|y| *y *= inverse);
    }
}

/// Adds the weighted sum of values to `y`.
#[inline(always)]
fn add_weighted(
    weights: &[f32],
    values: &[f32],
    y: &mut [f32],
    multiply_add: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    let dim = y.len();
    let mut column = 0;
    while column < dim {
        column += match dim - column {
            64.. => add_columns::<64>(weights, values, column, y, multiply_add),
            16.. => add_columns::<16>(weights, values, column, y, multiply_add),
            _ => add_columns::<4>(weights, values, column, y, multiply_add),
        };
    }
}

/// Adds `COLUMNS` columns of the weighted sum of values; returns `COLUMNS`.
#[inline(always)]
fn add_columns<const COLUMNS: usize>(
    weights: &[f32],
    values: &[f32],
    column: usize,
    y: &mut [f32],
    multiply_add: impl Fn(f32, f32, f32) -> f32,
) -> usize {
    let dim = y.len();
    let mut sums = [0.0; COLUMNS];
    sums.copy_from_slice(&y[column..column + COLUMNS]);
    for (weight, value) in weights.iter().zip(values.chunks_exact(dim)) {
        for (sum, value) in sums.iter_mut().zip(&value[column..column + COLUMNS]) {
            *sum = multiply_add(*weight, *value, *sum);
        }
    }
    y[column..column + COLUMNS].copy_from_slice(&sums);
    COLUMNS
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

/// Sum of sixteen numbers, by halves.
#[inline(always)]
pub(super) fn sum(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}
