//! Fusion of the gates of attention heads: the product that computes queries, keys and values also
//! computes the gates, and attention applies them.

use super::Fusion;
use crate::kernels::{Attention, AttentionMerge, Buffer, GateHeads, Kernel, Output};

impl Fusion<'_, '_> {
    /// `σ(gates) · attention`, if the gates' matrix follows those of queries, keys and values.
    pub(super) fn gates(&mut self, index: usize) -> Option<Vec<usize>> {
        let Kernel::GateHeads(GateHeads { x, gates, y }) = *self.kernel(index) else {
            return None;
        };
        let attention = self.writers_only_for(index, x.buffer)?;
        let q = match *self.kernel(*attention.first()?) {
            Kernel::Attention(Attention { q, .. }) => q,
            _ => return None,
        };
        let &[of_gates] = &self.products_only_for(index, gates.buffer)?[..] else { return None };
        let &[of_heads] = &self.writers.get(&q.buffer)?[..] else { return None };
        let Output::Heads(heads) = self.product(of_heads)?.epilogue.output else { return None };
        if !self.are_stacked(of_heads, of_gates)
            || heads.rows.contains(&0)
            || self.product(of_heads)?.epilogue.bias.is_some()
        {
            return None;
        }
        // Gates follow the queries in each row.
        let buffer = Buffer::Scratch(self.resources.index(self.plan.scratch.len()));
        let queries = q.with_sums(buffer, gates.width);
        self.plan.scratch.push(queries);
        let product = self.product(of_heads)?;
        product.matrix.rows += gates.width;
        product.y = queries;
        for kernel in attention {
            match &mut self.plan.kernels[kernel].kernel {
                Kernel::Attention(attention)
                | Kernel::AttentionMerge(AttentionMerge(attention)) => {
                    (attention.q, attention.y) = (queries, y);
                }
                _ => {}
            }
        }
        Some(vec![of_gates, index])
    }
}
