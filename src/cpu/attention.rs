//! Attention in `f32`, over keys and values that are unpacked once for some rows of a step: a query at a time,
//! or, where there are many, some at a time, which read each key and value once together.

use std::ops::Range;

use super::functions::{exp, softcap};
use super::{CpuVariant, Threads, pieces};
use crate::kernels::{Attention, AttentionShape, CacheRows, CpuMemory, Step};

/// Numbers that are summed side by side.
const LANES: usize = 16;
/// Rows of a part at least: what unpacking keys and values for it takes shall be a small part of it.
const ROWS: usize = 8;
/// Products of queries and keys, and of weights and values, in a nanosecond: roughly.
const PRODUCTS_A_NS: usize = 8;

/// Memory of attentions, kept from one to the next: of each thread.
#[derive(Debug, Default)]
pub(super) struct Heads(Vec<Head>);

/// A head of keys and values, and what queries make of it.
#[derive(Debug, Default)]
struct Head {
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Keys as queries that are computed together read them.
    turned: Vec<f32>,
    weights: Vec<f32>,
}

impl Heads {
    /// What the kernel means, whole: there is nothing left to merge.
    pub(super) fn run(
        &mut self,
        (variant, threads): (CpuVariant, &Threads),
        memory: &mut CpuMemory,
        attention: &Attention,
        step: Step,
    ) {
        let AttentionShape { head_count, kv_head_count, head_dim, .. } = attention.shape;
        let columns = (head_count / kv_head_count * head_dim) as usize;
        let seen = (step.position + step.rows) as usize;
        memory.update(attention.y.buffer, |memory, y| {
            let y = &mut y[..attention.y.start(step.rows)];
            let mut heads = pieces(y, attention.y.stride as usize, columns);
            let queries = step.rows as usize * heads.len();
            let rows = threads.together(queries, 2 * seen * columns / PRODUCTS_A_NS).max(ROWS);
            let mut heads: Vec<_> =
                heads.iter_mut().map(|rows_of_head| rows_of_head.chunks_mut(rows)).collect();
            let mut parts = Vec::new();
            for first in (0..step.rows as usize).step_by(rows) {
                let of_heads =
                    (0..kv_head_count as usize).zip(heads.iter_mut().filter_map(Iterator::next));
                parts.extend(of_heads.map(|(kv, y)| (kv, first, y)));
            }
            threads.each_with(&mut self.0, parts.into_iter(), |head, (kv, first, y)| {
                head.attend(variant, memory, attention, step, (first, kv), y);
            });
        });
    }
}

impl Head {
    /// Some rows of queries, from `first` on, that share a head of keys and values.
    fn attend(
        &mut self,
        variant: CpuVariant,
        memory: &CpuMemory,
        attention: &Attention,
        step: Step,
        (first, kv): (usize, usize),
        y: &mut [&mut [f32]],
    ) {
        let dim = attention.shape.head_dim as usize;
        let position = step.position as usize;
        let oldest = |end: usize| {
            attention.shape.window.map_or(0, |window| end.saturating_sub(window as usize))
        };
        let (start, end) = (oldest(position + first + 1), position + first + y.len());
        for (cache, numbers) in
            [(&attention.keys, &mut self.keys), (&attention.values, &mut self.values)]
        {
            numbers.resize((end - start) * dim, 0.0);
            variant.unpack(cache.rows, memory.read(cache.buffer), start, kv * dim, dim, numbers);
        }
        let mut queries = Vec::new();
        for (row, y) in (first..).zip(y) {
            let end = position + row + 1;
            let seen = oldest(end) - start..end - start;
            let q = &memory.row(&attention.q, row as u32)[kv * y.len()..];
            let heads = q.chunks_exact(dim).zip(y.chunks_exact_mut(dim));
            queries.extend(heads.map(|(q, y)| Query { q, seen: seen.clone(), y }));
        }
        let (keys, values) = (&self.keys, &self.values);
        // By the step's rows, not the part's: how many threads there are changes no bit.
        if step.rows as usize >= ROWS {
            turn(keys, &mut self.turned, dim);
            variant.attend_together(
                &attention.shape,
                &mut queries,
                &self.turned,
                values,
                &mut self.weights,
            );
        } else {
            for query in &mut queries {
                variant.attend(&attention.shape, query, keys, values, &mut self.weights);
            }
        }
    }
}

/// A query, the positions that it sees, and what becomes of it.
#[derive(Debug)]
pub(super) struct Query<'a> {
    q: &'a [f32],
    seen: Range<usize>,
    y: &'a mut [f32],
}

/// Keys with the same number of each of 16 positions side by side.
fn turn(keys: &[f32], turned: &mut Vec<f32>, dim: usize) {
    turned.resize((keys.len() / dim).next_multiple_of(LANES) * dim, 0.0);
    for (keys, turned) in keys.chunks(LANES * dim).zip(turned.chunks_exact_mut(LANES * dim)) {
        for (lane, key) in keys.chunks_exact(dim).enumerate() {
            for (lanes, number) in turned.as_chunks_mut::<LANES>().0.iter_mut().zip(key) {
                lanes[lane] = *number;
            }
        }
    }
}

/// A head's keys or values from a position on, in `f32`.
#[inline(always)]
pub(super) fn unpack(
    rows: CacheRows,
    words: &[f32],
    position: usize,
    first: usize,
    dim: usize,
    numbers: &mut [f32],
) {
    for (index, head) in numbers.chunks_exact_mut(dim).enumerate() {
        rows.read(words, position + index, first, head);
    }
}

/// `y = softmax(scaled q · keys) · values`, for one query.
#[inline(always)]
pub(super) fn attend(
    shape: &AttentionShape,
    Query { q, seen, y }: &mut Query<'_>,
    keys: &[f32],
    values: &[f32],
    weights: &mut Vec<f32>,
) {
    let dim = q.len();
    let seen = seen.start * dim..seen.end * dim;
    weights.resize(seen.len() / dim, 0.0);
    for (weight, key) in weights.iter_mut().zip(keys[seen.clone()].chunks_exact(dim)) {
        *weight = dot(q, key);
    }
    let over = soften(shape, weights);
    let mut column = 0;
    while column < dim {
        let values = &values[seen.clone()];
        column += match dim - column {
            64.. => weigh::<64, 1>([weights], values, dim, column, [over], [&mut **y]),
            16.. => weigh::<16, 1>([weights], values, dim, column, [over], [&mut **y]),
            _ => weigh::<4, 1>([weights], values, dim, column, [over], [&mut **y]),
        };
    }
}

/// The same for some queries, `N` at a time, with keys that were turned.
#[inline(always)]
pub(super) fn attend_together<const N: usize>(
    shape: &AttentionShape,
    queries: &mut [Query<'_>],
    turned: &[f32],
    values: &[f32],
    weights: &mut Vec<f32>,
) {
    let (tiles, rest) = queries.as_chunks_mut::<N>();
    for tile in tiles {
        attend_tile(shape, tile, turned, values, weights);
    }
    for query in rest {
        attend_tile(shape, std::array::from_mut(query), turned, values, weights);
    }
}

#[inline(always)]
fn attend_tile<const N: usize>(
    shape: &AttentionShape,
    queries: &mut [Query<'_>; N],
    turned: &[f32],
    values: &[f32],
    weights: &mut Vec<f32>,
) {
    let dim = shape.head_dim as usize;
    // Rows in order: the first sees the oldest position, the last the newest.
    let (start, end) = (queries[0].seen.start / LANES * LANES, queries[N - 1].seen.end);
    let width = (end - start).next_multiple_of(LANES);
    weights.resize(N * width, 0.0);
    for (index, keys) in
        turned[start * dim..].chunks_exact(LANES * dim).take(width / LANES).enumerate()
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
    let mut over = [0.0; N];
    for ((weights, query), over) in
        weights.chunks_exact_mut(width).zip(queries.iter()).zip(&mut over)
    {
        let seen = query.seen.start - start..query.seen.end - start;
        weights[..seen.start].fill(0.0);
        weights[seen.end..].fill(0.0);
        *over = soften(shape, &mut weights[seen]);
    }
    let mut all = weights.chunks_exact(width);
    let weights = [(); N].map(|()| all.next().map_or(&[][..], |weights| &weights[..end - start]));
    let values = &values[start * dim..end * dim];
    let mut ys = queries.each_mut().map(|query| &mut *query.y);
    let mut column = 0;
    while column < dim {
        let ys = ys.each_mut().map(|y| &mut **y);
        column += match dim - column {
            16.. => weigh::<16, N>(weights, values, dim, column, over, ys),
            _ => weigh::<4, N>(weights, values, dim, column, over, ys),
        };
    }
}

/// Makes weights of scores, but for what they are to be multiplied by in the end.
#[inline(always)]
fn soften(shape: &AttentionShape, weights: &mut [f32]) -> f32 {
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
    1.0 / totals.iter().sum::<f32>()
}

/// Some columns of the weighted sums of values, for some queries; how many.
#[inline(always)]
fn weigh<const COLUMNS: usize, const N: usize>(
    weights: [&[f32]; N],
    values: &[f32],
    dim: usize,
    column: usize,
    over: [f32; N],
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
    for ((y, sums), over) in ys.into_iter().zip(sums).zip(over) {
        for (y, sum) in y[column..column + COLUMNS].iter_mut().zip(sums) {
            *y = sum * over;
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
