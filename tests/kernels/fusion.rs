//! Fused kernels: on the GPU against their CPU reference, and fused plans against unfused plans.

use tablm::formats::Format;
use tablm::kernels::{
    Activation, ActivationFunction, AttentionShape, Buffer, CacheFormat, MatvecStrategy, Pairing,
    Reduction, RotaryTable, Rows,
};
use tablm::plan::{Linear, PlanBuilder};

use crate::matrices::{strategies, tilings};
use crate::{Case, with_gpu};

/// Rows and columns of matrices: a unit, odd sizes, over a workgroup, sizes of real models.
const SHAPES: [[u32; 2]; 5] = [[9, 32], [6, 64], [65, 33], [576, 192], [300, 1536]];

/// A plan of one row over named F16 matrices, which fuses to `kernels`.
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

/// A product with the matrix `name` and the bias `{name} bias`.
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
            for function in [
                ActivationFunction::Gelu,
                ActivationFunction::ReluSquared,
                ActivationFunction::Softcap(1.5),
            ] {
                let write = move |plan: &mut PlanBuilder<'_, '_>| {
                    let x = plan.input(Rows::Step, shape[1]);
                    let y = product(plan, "a", shape, x);
                    plan.elementwise(y, function)
                };
                case("function", &[("a", shape)], &["matvec"], write).check(&gpu).await;
            }
        }
        // A matrix in parts.
        let write = |plan: &mut PlanBuilder<'_, '_>| {
            let x = plan.input(Rows::Step, 64);
            let y = product(plan, "a", [300, 64], x);
            plan.elementwise(y, ActivationFunction::Softcap(1.5))
        };
        let mut case = case("function in parts", &[("a", [300, 64])], &["matvec"; 3], write);
        case.max_binding_bytes = 128 * 128;
        case.check(&gpu).await;
    });
}

/// A scale, followed by a cap, a residual or another function.
#[test]
fn scales_of_outputs() {
    with_gpu(async |gpu| {
        for [width, columns] in SHAPES {
            let scaled = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, columns);
                let y = biased(plan, "a", [width, columns], x);
                plan.elementwise(y, ActivationFunction::Scale(0.3))
            };
            let capped = move |plan: &mut PlanBuilder<'_, '_>| {
                let y = scaled(plan);
                plan.elementwise(y, ActivationFunction::Softcap(1.5))
            };
            let added = move |plan: &mut PlanBuilder<'_, '_>| {
                let residual = plan.input(Rows::Step, width);
                let y = scaled(plan);
                let residual = plan.add(residual, y);
                let weight = plan.resources.weight_vector("norm", width);
                let h = plan.rms_norm(residual, weight, 1e-5);
                let h = product(plan, "b", [width, width], h);
                let h = plan.elementwise(h, ActivationFunction::Scale(-2.0));
                let h = plan.elementwise(h, ActivationFunction::Silu);
                plan.add(residual, h)
            };
            let matrices = [("a", [width, columns]), ("b", [width, width])];
            case("scale and cap", &matrices, &["matvec"], capped)
                .vector("a bias", width)
                .check(&gpu)
                .await;
            case("scale and residual", &matrices, &["matvec", "matvec"], added)
                .vector("a bias", width)
                .vector("norm", width)
                .check(&gpu)
                .await;
        }
    });
}

/// A norm of outputs without a residual.
#[test]
fn outputs_and_norm() {
    with_gpu(async |gpu| {
        for [width, columns] in SHAPES {
            let write = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, columns);
                let y = product(plan, "a", [width, columns], x);
                let weight = plan.resources.weight_vector("norm", width);
                let h = plan.rms_norm(y, weight, 1e-5);
                product(plan, "b", [70, width], h)
            };
            let matrices = [("a", [width, columns]), ("b", [70, width])];
            let case = case("outputs and norm", &matrices, &["matvec", "matvec"], write);
            case.vector("norm", width).check(&gpu).await;
        }
    });
}

/// A norm after a product, as in Gemma, adds the residual and computes the sums of squares for the
/// next norm.
#[test]
fn normed_outputs_and_residuals() {
    with_gpu(async |gpu| {
        for [width, columns] in SHAPES {
            let write = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, columns);
                let residual = plan.input(Rows::Step, width);
                let y = product(plan, "a", [width, columns], x);
                let [after, before] =
                    ["after", "before"].map(|name| plan.resources.weight_vector(name, width));
                let y = plan.rms_norm(y, after, 1e-5);
                let residual = plan.add(residual, y);
                let h = plan.rms_norm(residual, before, 1e-6);
                let h = product(plan, "b", [width, width], h);
                plan.add(residual, h)
            };
            let matrices = [("a", [width, columns]), ("b", [width, width])];
            let kernels = ["matvec", "rms_norm", "matvec"];
            let case = case("norm and residual", &matrices, &kernels, write);
            case.vector("after", width).vector("before", width).check(&gpu).await;
        }
    });
}

#[test]
fn gates() {
    with_gpu(async |gpu| {
        for biased_gates in [false, true] {
            let product = if biased_gates { biased } else { product };
            let write = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, 64);
                let [gate, up] = ["gate", "up"].map(|name| {
                    let y = product(plan, name, [66, 64], x);
                    plan.elementwise(y, ActivationFunction::Scale(0.5))
                });
                plan.glu(gate, up, ActivationFunction::Gelu)
            };
            let matrices = [("gate", [66, 64]), ("up", [66, 64])];
            let case = case("scaled gate", &matrices, &["matvec"], write);
            case.vector("gate bias", 66).vector("up bias", 66).check(&gpu).await;
        }
        for [rows, columns] in [[2, 32], [6, 64], [66, 33], [576, 192], [7, 32]] {
            let shape = [rows, columns];
            let write = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, columns);
                let gate = product(plan, "gate", shape, x);
                let up = product(plan, "up", shape, x);
                plan.glu(gate, up, ActivationFunction::Silu)
            };
            let kernels: &[_] = if rows == 7 { &["matvec", "matvec", "glu"] } else { &["matvec"] };
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
            for strategy in [
                MatvecStrategy::in_f32(Reduction::WorkgroupReduce),
                MatvecStrategy::in_f32(Reduction::LanePerQuad),
            ] {
                let case = case("norm", &matrices, &["matvec"; 3], write).vector("norm", width);
                let mut case = case.vector("a bias", width);
                case.strategy = strategy;
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
                    let x = plan.elementwise(x, ActivationFunction::Scale(5.5));
                    let weight = plan.resources.weight_vector("norm", width);
                    let h = plan.rms_norm(x, weight, 1e-5);
                    product(plan, "b", [60, width], h)
                };
                let matrices = [("a", [100, width]), ("b", [60, width])];
                // The embedding matrix in two parts.
                let kernels = ["embed", "embed", "matvec"];
                let mut case = case("embedding", &matrices, &kernels, write).vector("norm", width);
                case.max_binding_bytes = u64::from(width.next_multiple_of(32)) * 2 * 64;
                case.tokens = vec![token];
                case.check(&gpu).await;
            }
        }
    });
}

/// A rotary table for [`attention`].
fn rotary_table(plan: &mut PlanBuilder<'_, '_>, rotary_dim: u32) -> Buffer {
    let frequencies = (0..rotary_dim / 2).map(|i| 0.5 / (i + 1) as f32).collect();
    plan.resources.rotary_table(RotaryTable {
        frequencies,
        divisors: None,
        magnitude: 1.0,
        position_scale: None,
        context_length: 16,
    })
}

/// Attention of 6 query heads and 2 key/value heads, with biases if `head_dim` is 80.
fn attention(
    plan: &mut PlanBuilder<'_, '_>,
    head_dim: u32,
    rotation: Option<(u32, Pairing)>,
    window: Option<u32>,
) -> Activation {
    let shape = AttentionShape { window, ..AttentionShape::new(6, 2, head_dim) };
    let (q_width, kv_width) = (6 * head_dim, 2 * head_dim);
    let x = plan.input(Rows::Step, 96);
    let product = if head_dim == 80 { biased } else { product };
    let q = product(plan, "q", [q_width, 96], x);
    let k = product(plan, "k", [kv_width, 96], x);
    let v = product(plan, "v", [kv_width, 96], x);
    if let Some((rotary_dim, pairing)) = rotation {
        let table = rotary_table(plan, rotary_dim);
        plan.rope(q, table, head_dim, rotary_dim, pairing);
        plan.rope(k, table, head_dim, rotary_dim, pairing);
    }
    let [keys, values] =
        ["keys", "values"].map(|name| plan.resources.window_cache(name, kv_width, 1024, window));
    plan.cache_store(k, keys);
    plan.cache_store(v, values);
    plan.attention(q, keys, values, shape)
}

#[test]
fn queries_keys_and_values() {
    with_gpu(async |gpu| {
        let rotations = [
            (64, None),
            (64, Some((64, Pairing::Adjacent))),
            (64, Some((64, Pairing::Halves))),
            (80, Some((32, Pairing::Halves))),
            (80, Some((10, Pairing::Adjacent))),
        ];
        for (head_dim, rotation) in rotations {
            for (cache_format, values, window) in [
                (CacheFormat::F32, Format::F16, None),
                (CacheFormat::F16, Format::F16, None),
                (CacheFormat::F16, Format::Q8_0, None),
                // Rings of six rows.
                (CacheFormat::F32, Format::F16, Some(4)),
                (CacheFormat::F16, Format::Q8_0, Some(4)),
            ] {
                let [q, kv] = [[6 * head_dim, 96], [2 * head_dim, 96]];
                let matrices = [("q", q), ("k", kv), ("v", kv)];
                let mut kernels = vec!["matvec", "attention", "attention_merge"];
                if values != Format::F16 {
                    kernels.insert(0, "matvec");
                }
                let name = format!("heads of {head_dim}, {rotation:?}");
                let mut case = case(&name, &matrices, &kernels, move |plan| {
                    attention(plan, head_dim, rotation, window)
                });
                (case.cache_format, case.ring_rows) = (cache_format, 1);
                if cache_format == CacheFormat::F16 {
                    // Keys that differ in the last bit of f32 can round to different f16 numbers.
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

/// Heads that are normed before rotation, with every strategy.
#[test]
fn normed_heads() {
    with_gpu(async |gpu| {
        for (head_dim, rotary_dim, pairing) in [
            (64, 64, Pairing::Adjacent),
            (80, 32, Pairing::Halves),
            (128, 128, Pairing::Halves),
            (256, 256, Pairing::Halves),
        ] {
            let formats = [Format::F16, Format::Q8_0].into_iter();
            let formats = formats.map(|format| (format, MatvecStrategy::default()));
            let all_strategies = strategies(&gpu).map(|strategy| (Format::Q4_1, strategy));
            for (format, strategy) in formats.chain(all_strategies) {
                let write = move |plan: &mut PlanBuilder<'_, '_>| {
                    let shape = AttentionShape::new(6, 2, head_dim);
                    let (q_width, kv_width) = (6 * head_dim, 2 * head_dim);
                    let x = plan.input(Rows::Step, 96);
                    let table = rotary_table(plan, rotary_dim);
                    let [q, k] = [("q", q_width), ("k", kv_width)].map(|(name, width)| {
                        let y = product(plan, name, [width, 96], x);
                        let weight =
                            plan.resources.weight_vector(&format!("{name} norm"), head_dim);
                        let y = plan.rms_norm_heads(y, weight, head_dim, 1e-6);
                        plan.rope(y, table, head_dim, rotary_dim, pairing);
                        y
                    });
                    let v = product(plan, "v", [kv_width, 96], x);
                    let [keys, values] =
                        ["keys", "values"].map(|name| plan.resources.cache(name, kv_width, 1024));
                    plan.cache_store(k, keys);
                    plan.cache_store(v, values);
                    plan.attention(q, keys, values, shape)
                };
                let [q, kv] = [[6 * head_dim, 96], [2 * head_dim, 96]];
                let kernels = ["matvec", "attention", "attention_merge"];
                let name = format!("normed heads of {head_dim}, {format:?}, {strategy:?}");
                let mut case = case(&name, &[("q", q), ("k", kv), ("v", kv)], &kernels, write);
                case.strategy = strategy;
                case.bound = if strategy.without_rounding() == strategy { 1e-9 } else { 2e-5 };
                case.shapes.0.values_mut().for_each(|(stored, _)| *stored = format);
                let case = case.vector("q norm", head_dim).vector("k norm", head_dim);
                case.at(9).check(&gpu).await;
            }
        }
    });
}

/// A layer of many rows: epilogues fuse, norms do not.
#[test]
fn layer_of_many_rows() {
    with_gpu(async |gpu| {
        // The ring of the window has twelve rows.
        for (tiling, window) in tilings(&gpu).flat_map(|tiling| [(tiling, None), (tiling, Some(1))])
        {
            let write = move |plan: &mut PlanBuilder<'_, '_>| {
                let y = attention(plan, 80, Some((32, Pairing::Halves)), window);
                let residual = plan.input(Rows::Step, 70);
                let y = biased(plan, "a", [70, 480], y);
                let residual = plan.add(residual, y);
                let weight = plan.resources.weight_vector("norm", 70);
                let h = plan.rms_norm(residual, weight, 1e-5);
                let gate = product(plan, "gate", [66, 70], h);
                let up = product(plan, "up", [66, 70], h);
                let h = plan.glu(gate, up, ActivationFunction::Silu);
                let y = product(plan, "b", [70, 66], h);
                plan.elementwise(y, ActivationFunction::ReluSquared)
            };
            let heads = [("q", [480, 96]), ("k", [160, 96]), ("v", [160, 96])];
            let others = [("a", [70, 480]), ("gate", [66, 70]), ("up", [66, 70]), ("b", [70, 66])];
            let kernels = ["matmul", "attention", "matmul", "rms_norm", "matmul", "matmul"];
            let mut case = case("layer", &[&heads[..], &others].concat(), &kernels, write);
            for (name, [rows, _]) in heads.iter().chain(&others[..1]) {
                case = case.vector(&format!("{name} bias"), *rows);
            }
            (case.tiling, case.step.rows, case.ring_rows) = (tiling, 11, 11);
            case.vector("norm", 70).at(4).check(&gpu).await;
        }
    });
}
