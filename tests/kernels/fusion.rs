//! Kernels that fusion makes one of: on the GPU as they mean, and meaning what the plan did before.

use tablm::formats::Format;
use tablm::kernels::{
    Activation, AttentionShape, CacheFormat, Function, Pairing, RotaryTable, Rows, Variant,
};
use tablm::plan::{Linear, PlanBuilder};

use crate::matrices::tiles;
use crate::{Case, with_gpu};

/// Rows and columns of a matrix: one unit and odd ones, a workgroup and more, real ones.
const SHAPES: [[u32; 2]; 5] = [[9, 32], [6, 64], [65, 33], [576, 192], [300, 1536]];

fn case(
    name: &str,
    matrices: &[(&str, [u32; 2])],
    kernels: &[&'static str],
    write: impl Fn(&mut PlanBuilder<'_, '_>) -> Activation + 'static,
) -> Case<'static> {
    let mut case = Case::new(format!("{name} {matrices:?}"), 1, write);
    for (name, [rows, columns]) in matrices {
        let shape = vec![*rows as usize, *columns as usize];
        case.shapes.0.insert((*name).into(), (Format::F16, shape));
    }
    case.fused = Some(kernels.to_vec());
    case
}

fn product(
    plan: &mut PlanBuilder<'_, '_>,
    name: &str,
    [rows, columns]: [u32; 2],
    x: Activation,
) -> Activation {
    let weight = plan.resources.weight_matrix(name, rows, columns);
    plan.matmul(weight, x)
}

/// A product whose bias has the name of its matrix and an end.
fn biased(
    plan: &mut PlanBuilder<'_, '_>,
    name: &str,
    shape: [u32; 2],
    x: Activation,
) -> Activation {
    let weight = plan.resources.weight_matrix(name, shape[0], shape[1]);
    let bias = Some(plan.resources.weight_vector(&format!("{name} bias"), shape[0]));
    plan.linear(Linear { weight, bias }, x)
}

#[test]
fn functions_of_outputs() {
    with_gpu(async |gpu| {
        for shape in SHAPES {
            for function in [Function::Gelu, Function::ReluSquared, Function::Softcap(1.5)] {
                let write = move |plan: &mut PlanBuilder<'_, '_>| {
                    let x = plan.input(Rows::Step, shape[1]);
                    let y = product(plan, "a", shape, x);
                    plan.elementwise(y, function)
                };
                case("function", &[("a", shape)], &["matvec"], write).check(&gpu).await;
            }
        }
        // In parts, as the largest matrices are.
        let write = |plan: &mut PlanBuilder<'_, '_>| {
            let x = plan.input(Rows::Step, 64);
            let y = product(plan, "a", [300, 64], x);
            plan.elementwise(y, Function::Softcap(1.5))
        };
        let mut case = case("function in parts", &[("a", [300, 64])], &["matvec"; 3], write);
        case.max_binding_bytes = 128 * 128;
        case.check(&gpu).await;
    });
}

#[test]
fn gates() {
    with_gpu(async |gpu| {
        for [rows, columns] in [[2, 32], [6, 64], [66, 33], [576, 192], [7, 32]] {
            let shape = [rows, columns];
            let write = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, columns);
                let gate = product(plan, "gate", shape, x);
                let up = product(plan, "up", shape, x);
                plan.gated_activation(gate, up, Function::Silu)
            };
            let kernels: &[_] =
                if rows == 7 { &["matvec", "matvec", "gated_activation"] } else { &["matvec"] };
            case("gate", &[("gate", shape), ("up", shape)], kernels, write).check(&gpu).await;
        }
    });
}

#[test]
fn residuals_and_norms() {
    with_gpu(async |gpu| {
        for [width, columns] in SHAPES {
            let (into, out) = ([width, columns], [70, width]);
            let write = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, columns);
                let residual = plan.input(Rows::Step, width);
                let y = biased(plan, "a", into, x);
                let residual = plan.add(residual, y);
                let weight = plan.resources.weight_vector("norm", width);
                let h = plan.rms_norm(residual, weight, 1e-5);
                let y = product(plan, "b", out, h);
                let z = product(plan, "c", [width, 70], y);
                plan.add(residual, z)
            };
            let matrices = [("a", into), ("b", out), ("c", [width, 70])];
            for variant in [Variant::Together, Variant::Alone] {
                let case = case("norm", &matrices, &["matvec"; 3], write).vector("norm", width);
                let mut case = case.vector("a bias", width);
                case.variant = variant;
                case.check(&gpu).await;
            }
        }
    });
}

#[test]
fn embedding_and_norm() {
    with_gpu(async |gpu| {
        for width in [32, 33, 576, 2080] {
            for token in [3, 70] {
                let write = move |plan: &mut PlanBuilder<'_, '_>| {
                    let embedding = plan.resources.weight_matrix("a", 100, width);
                    let x = plan.embed(embedding);
                    let weight = plan.resources.weight_vector("norm", width);
                    let h = plan.rms_norm(x, weight, 1e-5);
                    product(plan, "b", [60, width], h)
                };
                let matrices = [("a", [100, width]), ("b", [60, width])];
                // The embedding in two parts.
                let kernels = ["embed", "embed", "matvec"];
                let mut case = case("embedding", &matrices, &kernels, write).vector("norm", width);
                case.max_binding_bytes = u64::from(width.next_multiple_of(32)) * 2 * 64;
                case.tokens = vec![token];
                case.check(&gpu).await;
            }
        }
    });
}

/// An attention of 6 and 2 heads.
fn attention(
    plan: &mut PlanBuilder<'_, '_>,
    head_dim: u32,
    turn: Option<(u32, Pairing)>,
) -> Activation {
    let shape = AttentionShape::new(6, 2, head_dim);
    let (q_width, kv_width) = (6 * head_dim, 2 * head_dim);
    let x = plan.input(Rows::Step, 96);
    let product = if head_dim == 80 { biased } else { product };
    let q = product(plan, "q", [q_width, 96], x);
    let k = product(plan, "k", [kv_width, 96], x);
    let v = product(plan, "v", [kv_width, 96], x);
    if let Some((rotary_dim, pairing)) = turn {
        let frequencies = (0..rotary_dim / 2).map(|i| 0.5 / (i + 1) as f32).collect();
        let table = RotaryTable { frequencies, divisors: None, context_length: 16 };
        let table = plan.resources.rotary_table(table);
        plan.rope(q, table, head_dim, rotary_dim, pairing);
        plan.rope(k, table, head_dim, rotary_dim, pairing);
    }
    let [keys, values] = ["keys", "values"].map(|name| plan.resources.cache(name, kv_width, 1024));
    plan.cache_store(k, keys);
    plan.cache_store(v, values);
    plan.attention(q, keys, values, shape)
}

#[test]
fn queries_keys_and_values() {
    with_gpu(async |gpu| {
        let turns = [
            (64, None),
            (64, Some((64, Pairing::Adjacent))),
            (64, Some((64, Pairing::Halves))),
            (80, Some((32, Pairing::Halves))),
            (80, Some((10, Pairing::Adjacent))),
        ];
        for (head_dim, turn) in turns {
            for (cache_format, values) in [
                (CacheFormat::F32, Format::F16),
                (CacheFormat::F16, Format::F16),
                (CacheFormat::F16, Format::Q8_0),
            ] {
                let [q, kv] = [[6 * head_dim, 96], [2 * head_dim, 96]];
                let matrices = [("q", q), ("k", kv), ("v", kv)];
                let mut kernels = vec!["matvec", "attention", "attention_merge"];
                if values != Format::F16 {
                    kernels.insert(0, "matvec");
                }
                let name = format!("heads of {head_dim}, {turn:?}");
                let mut case =
                    case(&name, &matrices, &kernels, move |plan| attention(plan, head_dim, turn));
                case.cache_format = cache_format;
                if cache_format == CacheFormat::F16 {
                    // Keys that differ in their last bit are now and then rounded apart.
                    case.bound = 1e-6;
                }
                for (name, [rows, _]) in matrices {
                    case = case.vector(&format!("{name} bias"), rows);
                }
                case.shapes.0.get_mut("v").unwrap().0 = values;
                case.at(9).check(&gpu).await;
            }
        }
    });
}

/// A layer for many rows: what becomes of products is theirs, norms are not.
#[test]
fn products_of_many_rows() {
    with_gpu(async |gpu| {
        for tile in tiles(&gpu) {
            let write = |plan: &mut PlanBuilder<'_, '_>| {
                let y = attention(plan, 80, Some((32, Pairing::Halves)));
                let residual = plan.input(Rows::Step, 70);
                let y = biased(plan, "a", [70, 480], y);
                let residual = plan.add(residual, y);
                let weight = plan.resources.weight_vector("norm", 70);
                let h = plan.rms_norm(residual, weight, 1e-5);
                let gate = product(plan, "gate", [66, 70], h);
                let up = product(plan, "up", [66, 70], h);
                let h = plan.gated_activation(gate, up, Function::Silu);
                let y = product(plan, "b", [70, 66], h);
                plan.elementwise(y, Function::ReluSquared)
            };
            let heads = [("q", [480, 96]), ("k", [160, 96]), ("v", [160, 96])];
            let others = [("a", [70, 480]), ("gate", [66, 70]), ("up", [66, 70]), ("b", [70, 66])];
            let kernels = ["matmul", "attention", "matmul", "rms_norm", "matmul", "matmul"];
            let mut case = case("layer", &[&heads[..], &others].concat(), &kernels, write);
            for (name, [rows, _]) in heads.iter().chain(&others[..1]) {
                case = case.vector(&format!("{name} bias"), *rows);
            }
            (case.tile, case.step.rows) = (tile, 11);
            case.vector("norm", 70).at(4).check(&gpu).await;
        }
    });
}
