//! Merge of the partial results of a split attention (Flash-Decoding, Dao et al. 2023).

use super::{Activation, Attention, Binding, CpuMemory, KernelRules, Step};

/// `y = Σ_s e^(largest_s − largest) · sums_s / Σ_s e^(largest_s − largest) · total_s`, head by
/// head, over the splits `s`. Not dispatched for one split, for which [`Attention`] writes `y`
/// itself.
#[derive(Debug, Clone)]
pub struct AttentionMerge(pub Attention);

impl KernelRules for AttentionMerge {
    const NAME: &'static str = "attention_merge";
    const SHADER: &'static str = include_str!("../../shaders/attention_merge.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.0.partials.buffer), Binding::write(self.0.y.buffer)]
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
        let Activation { buffer, .. } = self.0.y;
        memory.update(buffer, |memory, y| {
            let partials = memory.read(self.0.partials.buffer);
            let head_dim = self.0.shape.head_dim as usize;
            for (head, y) in
                y.chunks_exact_mut(head_dim).take(self.0.shape.head_count as usize).enumerate()
            {
                let records =
                    (0..splits).map(|split| &partials[self.0.record(split, head as u32)..]);
                let records: Vec<_> = records.map(|record| record.split_at(head_dim)).collect();
                let largest = records
                    .iter()
                    .fold(f32::NEG_INFINITY, |largest, (_, tail)| largest.max(tail[0]));
                let weights = records.iter().map(|(_, tail)| f64::from(tail[0] - largest).exp());
                let weights: Vec<_> = weights.collect();
                let totals = records
                    .iter()
                    .zip(&weights)
                    .map(|((_, tail), weight)| weight * f64::from(tail[1]));
                let total: f64 = totals.sum();
                for (i, y) in y.iter_mut().enumerate() {
                    let sums = records.iter().zip(&weights);
                    let sum: f64 =
                        sums.map(|((sums, _), weight)| weight * f64::from(sums[i])).sum();
                    *y = (sum / total) as f32;
                }
            }
        });
    }
}
