//! Positions, the cache and attention over it.

use tablm::kernels::{Pairing, RotaryTable, Rows};
use tablm::plan::{AttentionShape, PlanBuilder};

use crate::{Case, with_gpu};

#[test]
fn rotary_positions() {
    with_gpu(async |gpu| {
        for (heads, head_dim, rotary_dim) in
            [(1, 4, 2), (9, 64, 64), (3, 64, 64), (5, 80, 32), (32, 128, 128)]
        {
            for pairing in [Pairing::Adjacent, Pairing::Halves] {
                for (position, rows) in [(0, 1), (3, 1), (200, 7), (1000, 1)] {
                    let name = format!("rope {heads}x{head_dim}/{rotary_dim} {pairing:?} at {position}");
                    let write = move |plan: &mut PlanBuilder<'_, '_>| {
                        let x = plan.input(Rows::Step, heads * head_dim);
                        let table = plan.resources.rotary_table(|| RotaryTable {
                            frequencies: (0..rotary_dim / 2).map(|i| 0.9f32.powi(i as i32)).collect(),
                            divisors: None,
                            context_length: 1100,
                        });
                        plan.rope(x, table, head_dim, rotary_dim, pairing);
                        x
                    };
                    Case::new(name, rows, write).at(position).check(&gpu).await;
                }
            }
        }
    });
}

#[test]
fn attention_and_its_cache() {
    with_gpu(async |gpu| {
        let heads = [(1, 1, 4), (9, 3, 64), (5, 1, 80), (32, 8, 128), (4, 2, 256)];
        for (head_count, kv_head_count, head_dim) in heads {
            for (position, rows) in [(0, 1), (1, 1), (62, 3), (63, 1), (64, 1), (0, 65), (700, 2)] {
                let name =
                    format!("attention {head_count}/{kv_head_count}x{head_dim} at {position}, {rows} rows");
                let write = move |plan: &mut PlanBuilder<'_, '_>| {
                    let q = plan.input(Rows::Step, head_count * head_dim);
                    let k = plan.input(Rows::Step, kv_head_count * head_dim);
                    let words = u64::from(kv_head_count * head_dim) * 1024;
                    let keys = plan.resources.state("keys", words);
                    let values = plan.resources.state("values", words);
                    plan.cache_store(k, keys);
                    let scale = (head_dim as f32).sqrt().recip();
                    plan.attention(
                        q,
                        keys,
                        values,
                        AttentionShape { head_count, kv_head_count, head_dim, scale },
                    )
                };
                Case::new(name, rows, write).at(position).check(&gpu).await;
            }
        }
    });
}
