//! Grouped-query attention (Ainslie et al. 2023) of a step's rows over the key/value cache, causal
//! or bidirectional.

use std::ops::Range;

use super::cache::{Cache, CacheFormat};
use super::projection::dot;
use super::{
    Activation, ActivationFunction, Binding, Buffer, CpuMemory, Import, KernelRules, MatmulTiling,
    Step, logistic,
};

/// Heads of an attention, and the positions that they see.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Query heads.
    pub head_count: u32,
    /// Key/value heads; divides `head_count`.
    pub kv_head_count: u32,
    /// Elements of a head: a multiple of 4, at most [`AttentionShape::MAX_HEAD_DIM`].
    pub head_dim: u32,
    /// Factor of the scores, usually `head_dim^-0.5`.
    pub scale: f32,
    /// Bound of the scaled scores, see [`ActivationFunction::Softcap`].
    pub softcap: Option<f32>,
    /// Last positions that a row sees, its own included; `None` for all.
    pub window: Option<u32>,
    /// True if rows see no later positions. Otherwise they see those of the step too, and `window`
    /// counts in both directions.
    pub is_causal: bool,
}

impl AttentionShape {
    /// Largest number of query heads.
    pub const MAX_HEADS: u32 = 1 << 12;
    /// Largest `head_dim` that fits the shader's workgroup memory.
    pub const MAX_HEAD_DIM: u32 = 256;

    /// Causal attention over all positions, scores scaled by `head_dim^-0.5`.
    pub fn new(head_count: u32, kv_head_count: u32, head_dim: u32) -> Self {
        let scale = f64::from(head_dim).sqrt().recip() as f32;
        let (softcap, window, is_causal) = (None, None, true);
        Self { head_count, kv_head_count, head_dim, scale, softcap, window, is_causal }
    }

    fn scaled(&self, score: f32) -> f64 {
        let score = f64::from(score) * f64::from(self.scale);
        self.softcap.map_or(score, |cap| ActivationFunction::Softcap(cap).of(score))
    }
}

/// `y = softmax(scale · q · keysᵀ) · values`, head by head; query head `h` uses key/value head `h /
/// (head_count / kv_head_count)`; row `r` sees positions `0 ..= position + r`, or the last `window`
/// of them; [`AttentionShape::is_causal`] has the other case. If positions are split among
/// workgroups, each split writes a partial result, and [`super::AttentionMerge`] combines these.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Queries, `[rows, head_count * head_dim]`. If its rows have room for sums, these are the
    /// gates of the heads: see [`super::GateHeads`].
    pub q: Activation,
    /// Key cache of the layer.
    pub keys: Cache,
    /// Value cache of the layer.
    pub values: Cache,
    /// Outputs, `[rows, head_count * head_dim]`.
    pub y: Activation,
    /// Partial results, `[splits, head_count, head_dim + 4]`: sums of weighted values, the largest
    /// score, the sum of the weights, and two words of padding.
    pub partials: Activation,
    /// Sinks, `[head_count]`: logits of a position without a value that all rows see (OpenAI 2025,
    /// gpt-oss model card).
    pub sinks: Option<Buffer>,
    /// Heads, and the positions that they see.
    pub shape: AttentionShape,
    /// Largest number of splits of a step; more than 1 only in plans for steps of one row.
    pub max_splits: u32,
    /// Matmul tiling in use. Where its lanes share loads (`quadBroadcast`), those of attention
    /// share the loads of queries and softmax weights.
    pub tiling: MatmulTiling,
}

impl Attention {
    /// Largest number of splits: more workgroups do not make a GPU faster.
    pub const MAX_SPLITS: u32 = 64;

    /// Words of the partial results of `splits` splits.
    pub fn partial_words(shape: &AttentionShape, splits: u32) -> u32 {
        splits * shape.head_count * (shape.head_dim + 4)
    }

    /// Column in rows of `q` of the first head's gate; 0 if there are no gates.
    pub(crate) fn first_gate(&self) -> u32 {
        if self.q.sums() == 0 { 0 } else { Activation::stride_of(self.q.width) }
    }

    /// Factor of a head's output in a row.
    pub(crate) fn gate(&self, memory: &CpuMemory, row: u32, head: u32) -> f64 {
        match self.first_gate() {
            0 => 1.0,
            first => {
                logistic(memory.read(self.q.buffer)[self.q.start(row) + (first + head) as usize])
            }
        }
    }

    /// Logit of a head's sink; −∞ if there are no sinks.
    pub(crate) fn sink(&self, memory: &CpuMemory, head: u32) -> f32 {
        self.sinks.map_or(f32::NEG_INFINITY, |sinks| memory.read(sinks)[head as usize])
    }

    /// Shader file of the sinks.
    pub(super) fn sinks_file(&self) -> &'static str {
        if self.sinks.is_some() { "sinks/vector" } else { "sinks/none" }
    }

    /// Index of the first word of the partial result of a split and a head.
    pub(super) fn record(&self, split: u32, head: u32) -> usize {
        ((split * self.shape.head_count + head) * (self.shape.head_dim + 4)) as usize
    }

    /// Positions that a row sees.
    pub(crate) fn seen(&self, step: Step, row: u32) -> Range<u32> {
        let own = step.position + row;
        let window = self.shape.window.unwrap_or(u32::MAX);
        let end = match self.shape.is_causal {
            true => own + 1,
            false => own.saturating_add(window).min(step.position + step.rows),
        };
        (own + 1).saturating_sub(window)..end
    }

    /// Positions of a split: whole tiles of `head_dim` positions.
    fn split_positions(&self, positions: u32) -> u32 {
        positions.div_ceil(self.shape.head_dim).div_ceil(self.max_splits) * self.shape.head_dim
    }

    /// Number of splits of a step.
    pub(super) fn splits(&self, step: Step) -> u32 {
        if self.max_splits == 1 {
            return 1;
        }
        let positions = self.seen(step, 0).len() as u32;
        positions.div_ceil(self.split_positions(positions))
    }

    /// Query heads that share a key/value head.
    fn group(&self) -> u32 {
        self.shape.head_count / self.shape.kv_head_count
    }

    /// Parts of four queries each that a workgroup computes: 1 if the only row of a step has no
    /// more, or if a second part would not fit workgroup memory; else 2.
    fn parts(&self) -> u32 {
        let fit_one_part = self.max_splits > 1 && self.group() <= 4;
        let is_wide = self.shape.head_dim > AttentionShape::MAX_HEAD_DIM / 2;
        if fit_one_part || is_wide { 1 } else { 2 }
    }

    /// Constants of `lib/splits`.
    pub(super) fn split_constants(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("QUADS", (self.shape.head_dim / 4).into()),
            ("HEADS", self.shape.head_count.into()),
            ("WINDOW", self.shape.window.unwrap_or(0).into()),
            ("CAUSAL", self.shape.is_causal.into()),
            ("SPLITS", self.max_splits.into()),
        ]
    }

    /// Weighted sums of the values for one query, its largest score, and the sum of its weights. A
    /// weight is `e^(score − largest)`.
    fn attend(&self, q: &[f32], keys: &[f32], values: &[f32]) -> (Vec<f64>, f64, f64) {
        let head_dim = q.len();
        let scores = keys.chunks_exact(head_dim).map(|key| self.shape.scaled(dot(q, key)));
        let mut weights: Vec<f64> = scores.collect();
        // Rounded to f32 as partial results store it, so that the weights are relative to that.
        let largest = f64::from(weights.iter().copied().fold(f64::NEG_INFINITY, f64::max) as f32);
        let (mut sums, mut total) = (vec![0.0; head_dim], 0.0);
        for (weight, value) in weights.iter_mut().zip(values.chunks_exact(head_dim)) {
            *weight = (*weight - largest).exp();
            total += *weight;
            for (sum, value) in sums.iter_mut().zip(value) {
                *sum += *weight * f64::from(*value);
            }
        }
        (sums, largest, total)
    }

    /// Attends the queries that share the key/value head `kv`.
    fn attend_head(
        &self,
        kv: u32,
        step: Step,
        memory: &CpuMemory,
        y: &mut [f32],
        partials: &mut [f32],
    ) {
        let head_dim = self.shape.head_dim as usize;
        let all = self.seen(step, 0).start..self.seen(step, step.rows - 1).end;
        let read = |cache: &Cache| {
            let mut elements = vec![0.0; all.len() * head_dim];
            for (position, head) in all.clone().zip(elements.chunks_exact_mut(head_dim)) {
                let (row, first) = (cache.rows.row_of(position), kv as usize * head_dim);
                cache.rows.read(memory.read(cache.buffer), row as usize, first, head);
            }
            elements
        };
        let (keys, values) = (read(&self.keys), read(&self.values));
        let splits = self.splits(step);
        for row in 0..step.rows {
            let seen = self.seen(step, row);
            let seen_count = seen.len() as u32;
            let size = if splits == 1 { seen_count } else { self.split_positions(seen_count) };
            for head in kv * self.group()..(kv + 1) * self.group() {
                let q = &memory.row(&self.q, row)[head as usize * head_dim..][..head_dim];
                let gate = self.gate(memory, row, head);
                for split in 0..splits {
                    let first = seen.start + split * size;
                    let part = first - all.start..seen.end.min(first + size) - all.start;
                    let part = part.start as usize * head_dim..part.end as usize * head_dim;
                    let (mut sums, largest, total) =
                        self.attend(q, &keys[part.clone()], &values[part]);
                    sums.iter_mut().for_each(|sum| *sum *= gate);
                    if splits == 1 {
                        let total = total + (f64::from(self.sink(memory, head)) - largest).exp();
                        let y = &mut y[self.y.start(row) + head as usize * head_dim..];
                        y.iter_mut().zip(&sums).for_each(|(y, sum)| *y = (sum / total) as f32);
                    } else {
                        let record = &mut partials[self.record(split, head)..][..head_dim + 4];
                        record.iter_mut().zip(&sums).for_each(|(word, sum)| *word = *sum as f32);
                        let tail = [largest as f32, total as f32, 0.0, 0.0];
                        record[head_dim..].copy_from_slice(&tail);
                    }
                }
            }
        }
    }
}

impl KernelRules for Attention {
    const NAME: &'static str = "attention";
    const SHADER: &'static str = include_wgsl!("../../shaders/attention.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![
            Binding::read(self.q.buffer),
            Binding::read(self.keys.buffer),
            Binding::read(self.values.buffer),
            Binding::write(self.y.buffer),
            Binding::write(self.partials.buffer),
        ];
        bindings.extend(self.sinks.map(Binding::read));
        bindings
    }

    fn use_tiling(&mut self, tiling: MatmulTiling) {
        self.tiling = tiling;
    }

    fn imports(&self) -> Vec<Import> {
        let cache = match self.keys.rows.format {
            CacheFormat::F32 => "caches/f32",
            CacheFormat::F16 => "caches/f16",
            CacheFormat::Q8 => "caches/q8",
        };
        // Four lanes share loads; a head's lanes, one per quad, must be whole groups of four.
        let broadcasts = self.tiling.broadcasts_loads() && self.shape.head_dim.is_multiple_of(16);
        let loads = if broadcasts { "loads/vectors_broadcast4" } else { "loads/vectors_per_lane" };
        vec![("cache", cache), ("loads", loads), ("sinks", self.sinks_file())]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = self.split_constants();
        constants.extend([
            ("Q_STRIDE", self.q.stride.into()),
            ("Y_STRIDE", self.y.stride.into()),
            ("GROUP", self.group().into()),
            ("PARTS", self.parts().into()),
            // With groups of five query heads (Nemotron models), the second part has one query.
            ("LONE", (self.max_splits > 1 && self.parts() == 2 && self.group() == 5).into()),
            ("SCALE", self.shape.scale.into()),
            ("SOFTCAP", self.shape.softcap.unwrap_or(0.0).into()),
            ("KV_WIDTH", self.keys.rows.width.into()),
            ("RING", self.keys.rows.ring_length().into()),
            ("FIRST_GATE", self.first_gate().into()),
        ]);
        constants
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        let queries = step.rows * self.group();
        [self.shape.kv_head_count, queries.div_ceil(4 * self.parts()), self.splits(step)]
    }

    fn operations(&self, step: Step) -> u64 {
        // A multiplication and an addition each for score and value, at every position seen.
        let seen: u64 = (0..step.rows).map(|row| self.seen(step, row).len() as u64).sum();
        4 * seen * u64::from(self.shape.head_count * self.shape.head_dim)
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.y.buffer, |memory, y| {
            memory.update(self.partials.buffer, |memory, partials| {
                for kv in 0..self.shape.kv_head_count {
                    self.attend_head(kv, step, memory, y, partials);
                }
            });
        });
    }
}
