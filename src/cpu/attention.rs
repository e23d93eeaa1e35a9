//! Attention in `f32`: a query at a time over keys and values that are unpacked once for all of the step.

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
            let mut parts = Vec::new();
            for (kv, rows_of_head) in (0..kv_head_count as usize).zip(&mut heads) {
                for (index, y) in rows_of_head.chunks_mut(rows).enumerate() {
                    parts.push((kv, index * rows, y));
                }
            }
            threads.each_with(&mut self.0, parts.into_iter(), |head, (kv, first, y)| {
                head.attend(variant, memory, attention, (step.position as usize, first), kv, y);
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
        (position, first): (usize, usize),
        kv: usize,
        y: &mut [&mut [f32]],
    ) {
        let dim = attention.shape.head_dim as usize;
        let oldest =
            |end: usize| attention.shape.window.map_or(0, |window| end.saturating_sub(window as usize));
        let (start, end) = (oldest(position + first + 1), position + first + y.len());
        for (cache, numbers) in [(&attention.keys, &mut self.keys), (&attention.values, &mut self.values)] {
            numbers.resize((end - start) * dim, 0.0);
            variant.unpack(cache.rows, memory.read(cache.buffer), start, kv * dim, dim, numbers);
        }
        for (row, y) in (first..).zip(y) {
            let end = position + row + 1;
            let seen = (oldest(end) - start) * dim..(end - start) * dim;
            let (keys, values) = (&self.keys[seen.clone()], &self.values[seen]);
            let queries = &memory.row(&attention.q, row as u32)[kv * y.len()..];
            for (q, y) in queries.chunks_exact(dim).zip(y.chunks_exact_mut(dim)) {
                variant.attend(&attention.shape, q, keys, values, &mut self.weights, y);
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
    q: &[f32],
    keys: &[f32],
    values: &[f32],
    weights: &mut Vec<f32>,
    y: &mut [f32],
) {
    let dim = q.len();
    weights.resize(keys.len() / dim, 0.0);
    for (weight, key) in weights.iter_mut().zip(keys.chunks_exact(dim)) {
        *weight = dot(q, key) * shape.scale;
    }
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
    let over = 1.0 / totals.iter().sum::<f32>();
    let mut column = 0;
    while column < dim {
        column += match dim - column {
            64.. => weigh::<64>(weights, values, dim, column, over, y),
            16.. => weigh::<16>(weights, values, dim, column, over, y),
            _ => weigh::<4>(weights, values, dim, column, over, y),
        };
    }
}

/// Some columns of the weighted sum of values; how many.
#[inline(always)]
fn weigh<const N: usize>(
    weights: &[f32],
    values: &[f32],
    dim: usize,
    column: usize,
    over: f32,
    y: &mut [f32],
) -> usize {
    let mut sums = [0.0; N];
    for (weight, value) in weights.iter().zip(values.chunks_exact(dim)) {
        for (sum, value) in sums.iter_mut().zip(&value[column..column + N]) {
            *sum += weight * value;
        }
    }
    for (y, sum) in y[column..column + N].iter_mut().zip(sums) {
        *y = sum * over;
    }
    N
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
