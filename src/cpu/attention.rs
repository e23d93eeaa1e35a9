//! Attention kernels on the CPU: query heads distributed over threads in tasks that unpack a head
//! of the KV cache once for several rows.

use super::Context;
use super::attend::{AttendScratch, HeadCache, Query, transpose_keys};
use super::threads::split_columns;
use super::variant::CpuVariant;
use crate::kernels::{Attention, AttentionShape, Cache, CpuMemory, Step};

/// Minimum rows of a task, so that unpacking keys and values is a small part of it; steps of as
/// many rows compute queries in batches.
const MIN_ROWS: usize = 8;
/// Rough throughput: multiply-adds per nanosecond.
const MULTIPLY_ADDS_PER_NS: usize = 8;

/// Scratch memory of attention kernels, one entry per thread, reused between kernels.
#[derive(Debug, Default)]
pub(super) struct AttentionScratch(Vec<HeadScratch>);

/// Unpacked keys and values of one head, and softmax weights. Steps of few rows have the last field
/// only.
#[derive(Debug, Default)]
struct HeadScratch {
    /// `[positions, head_dim]`.
    keys: Vec<f32>,
    /// `[positions, head_dim]`.
    values: Vec<f32>,
    /// Keys as [`transpose_keys`] lays them out.
    transposed: Vec<f32>,
    weights: Vec<f32>,
    few: AttendScratch,
}

impl AttentionScratch {
    /// Runs the kernel over all positions without splits, so that
    /// [`crate::kernels::AttentionMerge`] has nothing to do.
    pub(super) fn run(
        &mut self,
        (variant, threads): Context<'_>,
        memory: &mut CpuMemory,
        attention: &Attention,
        step: Step,
    ) {
        let AttentionShape { head_count, kv_head_count, head_dim, .. } = attention.shape;
        let columns = (head_count / kv_head_count * head_dim) as usize;
        let positions = (step.position + step.rows) as usize;
        memory.update(attention.y.buffer, |memory, y| {
            let y = &mut y[..attention.y.start(step.rows)];
            let mut heads = split_columns(y, attention.y.stride as usize, columns);
            let queries = step.rows as usize * heads.len();
            let query_ns = 2 * positions * columns / MULTIPLY_ADDS_PER_NS;
            let rows = threads.items_per_task(queries, query_ns).max(MIN_ROWS);
            let mut heads: Vec<_> =
                heads.iter_mut().map(|rows_of_head| rows_of_head.chunks_mut(rows)).collect();
            let mut tasks = Vec::new();
            for first in (0..step.rows as usize).step_by(rows) {
                let chunks = heads.iter_mut().filter_map(Iterator::next);
                tasks.extend((0..kv_head_count as usize).zip(chunks).map(|(kv, y)| (kv, first, y)));
            }
            threads.for_each_with(&mut self.0, tasks.into_iter(), |head, (kv, first, y)| {
                head.attend(variant, memory, attention, step, (first, kv), y);
            });
            gate(memory, attention, step, y);
        });
    }
}

/// Multiplies the heads of all rows by their gates, if there are gates.
fn gate(memory: &CpuMemory, attention: &Attention, step: Step, y: &mut [f32]) {
    if attention.first_gate() == 0 {
        return;
    }
    let AttentionShape { head_count, head_dim, .. } = attention.shape;
    for row in 0..step.rows {
        let heads = y[attention.y.start(row)..].chunks_exact_mut(head_dim as usize);
        for (head, y) in (0..head_count).zip(heads) {
            let gate = attention.gate(memory, row, head) as f32;
            y.iter_mut().for_each(|y| *y *= gate);
        }
    }
}

impl HeadScratch {
    /// Computes the rows `y` from row `first` on, of the query heads that share KV head `kv`.
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
        let seen = |row: usize| {
            let seen = attention.seen(step, row as u32);
            seen.start as usize..seen.end as usize
        };
        let (start, end) = (seen(first).start, seen(first + y.len() - 1).end);
        let head = |cache: &Cache| HeadCache {
            rows: cache.rows,
            words: memory.read(cache.buffer),
            held: cache.rows.rows_of(start as u32..end as u32),
            first: kv * dim,
        };
        let caches = [&attention.keys, &attention.values].map(head);
        let mut queries = Vec::new();
        for (row, y) in (first..).zip(y) {
            let visible = seen(row).start - start..seen(row).end - start;
            let q = &memory.row(&attention.q, row as u32)[kv * y.len()..];
            let first_head = kv * y.len() / dim;
            let heads = (first_head..).zip(q.chunks_exact(dim)).zip(y.chunks_exact_mut(dim));
            queries.extend(heads.map(|((head, q), y)| {
                let sink = attention.sink(memory, head as u32);
                Query { q, visible: visible.clone(), y, sink }
            }));
        }
        let shape = &attention.shape;
        // Decided by the rows of the step, not of the task: results do not depend on the number of
        // threads.
        if (step.rows as usize) < MIN_ROWS {
            return variant.attend(shape, &mut queries, caches.each_ref(), &mut self.few);
        }
        for (cache, unpacked) in caches.iter().zip([&mut self.keys, &mut self.values]) {
            unpacked.resize((end - start) * dim, 0.0);
            let mut rest = &mut unpacked[..];
            for rows in &cache.held {
                let (unpacked, others) = rest.split_at_mut(rows.len() * dim);
                let first = rows.start as usize;
                variant.unpack(cache.rows, cache.words, first, cache.first, dim, unpacked);
                rest = others;
            }
        }
        transpose_keys(&self.keys, &mut self.transposed, dim);
        let (transposed, weights) = (&self.transposed, &mut self.weights);
        variant.attend_batch(shape, &mut queries, transposed, &self.values, weights);
    }
}
