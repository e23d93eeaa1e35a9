//! Rotary position embedding, KV cache and attention.

use tablm::kernels::{Activation, AttentionShape, CacheFormat, Pairing, RotaryTable, Rows};
use tablm::plan::PlanBuilder;

use crate::matrices::check_by_loads;
use crate::{Case, with_gpu};

#[test]
fn rotary_positions() {
    with_gpu(async |gpu| {
        for (heads, head_dim, rotary_dim) in
            [(1, 4, 2), (9, 64, 64), (3, 64, 64), (5, 80, 32), (32, 128, 128)]
        {
            for pairing in [Pairing::Adjacent, Pairing::Halves] {
                for (position, rows) in [(0, 1), (3, 1), (200, 7), (1000, 1)] {
                    let name =
                        format!("rope {heads}x{head_dim}/{rotary_dim} {pairing:?} at {position}");
                    let write = move |plan: &mut PlanBuilder<'_, '_>| {
                        let x = plan.input(Rows::Step, heads * head_dim);
                        let table = plan.resources.rotary_table(RotaryTable {
                            frequencies: (0..rotary_dim / 2)
                                .map(|i| 0.9f32.powi(i as i32))
                                .collect(),
                            divisors: None,
                            magnitude: 1.0,
                            position_scale: None,
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
        // Groups of 1, 3, 5, 4 (Llama 3), 2, 8 and 9 query heads.
        let heads =
            [(1, 1, 4), (9, 3, 64), (5, 1, 80), (32, 8, 128), (4, 2, 256), (16, 2, 96), (9, 1, 12)];
        for (head_count, kv_head_count, head_dim) in heads {
            let shape = AttentionShape::new(head_count, kv_head_count, head_dim);
            // Positions within a tile of `head_dim` positions, at its end and after it; and many
            // splits of several tiles.
            for (position, rows) in
                [(0, 1), (1, 1), (63, 1), (64, 1), (1000, 1), (62, 3), (0, 65), (700, 2)]
            {
                check_by_loads(&gpu, || attend(shape, position, rows)).await;
            }
        }
        let shape = AttentionShape::new(4, 2, 64);
        let capped = AttentionShape { scale: 0.6, softcap: Some(5.0), ..shape };
        for rows in [1, 3] {
            check_by_loads(&gpu, || attend(capped, 80, rows)).await;
        }
        // Encoders: rows see later rows, or those of a window on both sides.
        for (shape, window) in [None, Some(1), Some(3), Some(40), Some(200)]
            .into_iter()
            .flat_map(|window| [(shape, window), (AttentionShape::new(5, 1, 80), window)])
        {
            for rows in [1, 2, 7, 65, 130] {
                let shape = AttentionShape { window, is_causal: false, ..shape };
                check_by_loads(&gpu, || attend(shape, 0, rows)).await;
            }
        }
        // Windows shorter than a tile, about as long as the sequence, and longer.
        for window in [1, 2, 63, 64, 65, 700, 1000] {
            for (position, rows) in [(0, 1), (62, 3), (0, 65), (700, 1), (700, 2)] {
                let shape = AttentionShape { window: Some(window), ..shape };
                check_by_loads(&gpu, || attend(shape, position, rows)).await;
            }
        }
    });
}

#[test]
fn caches_of_every_format() {
    with_gpu(async |gpu| {
        for format in CacheFormat::ALL {
            for (head_count, kv_head_count, head_dim) in [(3, 1, 4), (10, 2, 80), (16, 4, 128)] {
                let shape = AttentionShape::new(head_count, kv_head_count, head_dim);
                for (position, rows) in [(0, 1), (300, 1), (40, 21)] {
                    let case = || Case { cache_format: format, ..attend(shape, position, rows) };
                    check_by_loads(&gpu, case).await;
                }
            }
        }
    });
}

/// Rings in their first turn, at its end, and in later ones; chunks shorter and longer than the
/// window, which begin and end at every place of a ring.
#[test]
fn rings_of_every_format() {
    with_gpu(async |gpu| {
        for (format, window) in CacheFormat::ALL.into_iter().cycle().zip([1, 2, 40, 64, 65, 300]) {
            let shape = AttentionShape::new(10, 2, 80);
            let shape = AttentionShape { window: Some(window), ..shape };
            for (position, rows) in [
                (0, 1),
                (3, 1),
                (103, 1),
                (104, 1),
                (700, 1),
                (1001, 1),
                (0, 65),
                (90, 21),
                (703, 66),
            ] {
                let ring_rows = if format == CacheFormat::F16 { 70 } else { rows };
                let case =
                    || Case { cache_format: format, ring_rows, ..attend(shape, position, rows) };
                check_by_loads(&gpu, case).await;
            }
        }
    });
}

/// Sinks below, among and far above the scores, with one split and several.
#[test]
fn sinks_join_the_softmax() {
    with_gpu(async |gpu| {
        for (head_count, kv_head_count, head_dim) in [(9, 3, 64), (10, 2, 80), (4, 2, 256)] {
            for (position, rows) in [(0, 1), (1000, 1), (62, 3), (90, 21)] {
                let shape = AttentionShape::new(head_count, kv_head_count, head_dim);
                check_by_loads(&gpu, || {
                    let write =
                        move |plan: &mut PlanBuilder<'_, '_>| attend_with(plan, shape, true);
                    let name = format!("attention {shape:?} with sinks at {position}, {rows} rows");
                    let mut case = Case::new(name, rows, write).vector("sinks", head_count);
                    let sinks = (0..head_count).map(|head| 3.0 * head as f32 - 8.0);
                    case.words.insert("sinks".into(), sinks.collect());
                    case.at(position)
                })
                .await;
            }
        }
    });
}

/// Attention over `position` cached positions and `rows` new ones.
fn attend(shape: AttentionShape, position: u32, rows: u32) -> Case<'static> {
    let name = format!("attention {shape:?} at {position}, {rows} rows");
    let write = move |plan: &mut PlanBuilder<'_, '_>| attend_with(plan, shape, false);
    Case::new(name, rows, write).at(position)
}

fn attend_with(
    plan: &mut PlanBuilder<'_, '_>,
    shape: AttentionShape,
    has_sinks: bool,
) -> Activation {
    let kv_width = shape.kv_head_count * shape.head_dim;
    let q = plan.input(Rows::Step, shape.head_count * shape.head_dim);
    let k = plan.input(Rows::Step, kv_width);
    let [keys, values] = ["keys", "values"]
        .map(|name| plan.resources.window_cache(name, kv_width, 1024, shape.window));
    let sinks = has_sinks.then(|| plan.resources.weight_vector("sinks", shape.head_count));
    plan.cache_store(k, keys);
    plan.attention_with_sinks(q, keys, values, sinks, shape)
}
