//! Gates of attention heads: the kernel, and its fusion with the product of the heads and with
//! attention, for a split attention and for one split, with and without norms of heads.

use tablm::formats::Format;
use tablm::kernels::{Activation, AttentionShape, Pairing, RotaryTable, Rows};
use tablm::plan::PlanBuilder;

use crate::{Case, with_gpu};

const COLUMNS: u32 = 96;
const CONTEXT: u32 = 1024;

#[test]
fn gates_of_heads() {
    with_gpu(async |gpu| {
        for [heads, head_dim, rows] in [[1, 4, 1], [5, 20, 3], [16, 128, 65], [6, 16, 1]] {
            let write = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, heads * head_dim);
                let gates = plan.input(Rows::Step, heads);
                plan.gate_heads(x, gates)
            };
            Case::new(format!("{heads} gates, {rows} rows"), rows, write).check(&gpu).await;
        }
    });
}

fn product(plan: &mut PlanBuilder<'_, '_>, name: &str, rows: u32, x: Activation) -> Activation {
    let weight = plan.resources.weight_matrix(name, rows, COLUMNS);
    plan.matmul(weight, x)
}

/// Gated attention, its heads normed or not.
fn gated(plan: &mut PlanBuilder<'_, '_>, shape: AttentionShape, is_normed: bool) -> Activation {
    let AttentionShape { head_count, kv_head_count, head_dim, .. } = shape;
    let kv_width = kv_head_count * head_dim;
    let x = plan.input(Rows::Step, COLUMNS);
    let table = plan.resources.rotary_table(RotaryTable {
        frequencies: (0..head_dim / 2).map(|pair| 0.9f32.powi(pair as i32)).collect(),
        divisors: None,
        magnitude: 1.0,
        position_scale: None,
        context_length: CONTEXT,
    });
    let [q, k] = [("q", head_count * head_dim), ("k", kv_width)].map(|(name, width)| {
        let mut y = product(plan, name, width, x);
        if is_normed {
            let weight = plan.resources.weight_vector(&format!("{name} norm"), head_dim);
            y = plan.rms_norm_heads(y, weight, head_dim, 1e-6);
        }
        plan.rope(y, table, head_dim, head_dim, Pairing::Halves);
        y
    });
    let v = product(plan, "v", kv_width, x);
    let [keys, values] =
        ["keys", "values"].map(|name| plan.resources.cache(name, kv_width, CONTEXT));
    plan.cache_store(k, keys);
    plan.cache_store(v, values);
    let y = plan.attention(q, keys, values, shape);
    let gates = product(plan, "gate", head_count, x);
    plan.gate_heads(y, gates)
}

#[test]
fn gates_fuse_with_products_and_attention() {
    with_gpu(async |gpu| {
        // Numbers of gates that do and do not fill a quad or a pair.
        for (heads, kv_heads, head_dim) in [(6, 2, 64), (5, 1, 16), (16, 4, 128), (4, 1, 80)] {
            for (rows, position, is_normed) in
                [(1, 0, true), (1, 700, true), (1, 700, false), (11, 30, false)]
            {
                let shape = AttentionShape::new(heads, kv_heads, head_dim);
                let mut case = Case::new(
                    format!("{shape:?}, {rows} rows at {position}, normed: {is_normed}"),
                    rows,
                    move |plan| gated(plan, shape, is_normed),
                );
                for (name, rows) in [
                    ("q", heads * head_dim),
                    ("k", kv_heads * head_dim),
                    ("v", kv_heads * head_dim),
                    ("gate", heads),
                ] {
                    let shape = vec![rows as usize, COLUMNS as usize];
                    case.shapes.0.insert(name.into(), (Format::F16, shape));
                }
                let kernels: &[_] = match rows {
                    1 => &["matvec", "attention", "attention_merge"],
                    _ => &["matmul", "attention"],
                };
                case.fused = Some(kernels.to_vec());
                // Heads without norms have large scores.
                case.bound = 1e-9;
                let case = case.vector("q norm", head_dim).vector("k norm", head_dim);
                case.at(position).check(&gpu).await;
            }
        }
    });
}
