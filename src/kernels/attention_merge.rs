//! Merge of the partial results of a split attention (Flash-Decoding, Dao et al. 2023).

use super::{Attention, Binding, CpuMemory, Import, KernelRules, Step};

/// `y = Σ_s e^(largest_s − largest) · sums_s / Σ_s e^(largest_s − largest) · total_s`, head by
/// head, over the splits `s`, with sinks as in [`Attention`]. Not dispatched for one split, for
/// which [`Attention`] writes `y` itself.
#[derive(Debug, Clone)]
pub struct AttentionMerge(pub Attention);

impl KernelRules for AttentionMerge {
    const NAME: &'static str = "attention_merge";
    const SHADER: &'static str = include_wgsl!("../../shaders/attention_merge.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        let sinks = self.0.sinks.map(Binding::read);
        let own = [Binding::read(self.0.partials.buffer), Binding::write(self.0.y.buffer)];
        own.into_iter().chain(sinks).collect()
    }

    fn imports(&self) -> Vec<Import> {
        vec![("sinks", self.0.sinks_file())]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        self.0.split_constants()
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        let is_split = self.0.splits(step) > 1;
        [self.0.shape.head_count, is_split.into(), 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let splits = self.0.splits(step);
        if splits == 1 {
            return;
        }
        memory.update(self.0.y.buffer, |memory, y| {
            let partials = memory.read(self.0.partials.buffer);
            let head_dim = self.0.shape.head_dim as usize;
            let heads = y.chunks_exact_mut(head_dim).take(self.0.shape.head_count as usize);
            for (head, y) in (0..).zip(heads) {
                // Each record: sums of `head_dim` columns, the largest score, the total weight.
                let record = |split| &partials[self.0.record(split, head)..];
                let records: Vec<_> = (0..splits).map(record).collect();
                let largest = records.iter().map(|record| record[head_dim]);
                let largest = largest.fold(f32::NEG_INFINITY, f32::max);
                let weight = |record: &&[f32]| f64::from(record[head_dim] - largest).exp();
                let weights: Vec<f64> = records.iter().map(weight).collect();
                let merged = |word: usize| -> f64 {
                    let terms = weights.iter().zip(&records);
                    terms.map(|(weight, record)| weight * f64::from(record[word])).sum()
                };
                let sink = f64::from(self.0.sink(memory, head) - largest).exp();
                let total = merged(head_dim + 1) + sink;
                for (column, y) in y.iter_mut().enumerate() {
                    *y = (merged(column) / total) as f32;
                }
            }
        });
    }
}
