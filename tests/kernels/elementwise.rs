//! Norms, element-wise kernels, and biases of products.

use tablm::formats::Format;
use tablm::kernels::{ActivationFunction, Rows};
use tablm::plan::{Linear, PlanBuilder};

use crate::{Case, with_gpu};

#[test]
fn norms() {
    with_gpu(async |gpu| {
        for (width, rows) in [(1, 1), (63, 2), (65, 1), (576, 1), (576, 33), (4096, 3)] {
            let case = Case::new(format!("rms_norm {width}, {rows} rows"), rows, move |plan| {
                let x = plan.input(Rows::Step, width);
                let weight = plan.resources.weight_vector("vector", width);
                plan.rms_norm(x, weight, 1e-5)
            });
            case.vector("vector", width).check(&gpu).await;
            let case = Case::new(format!("layer_norm {width}, {rows} rows"), rows, move |plan| {
                let x = plan.input(Rows::Step, width);
                let weight = plan.resources.weight_vector("vector", width);
                let bias = plan.resources.weight_vector("bias", width);
                plan.layer_norm(x, weight, bias, 1e-5)
            });
            case.vector("vector", width).vector("bias", width).check(&gpu).await;
        }
        for (heads, head_dim, rows) in [(1, 4, 1), (3, 80, 2), (4, 256, 33)] {
            let case =
                Case::new(format!("rms_norm {heads}x{head_dim}, {rows} rows"), rows, move |plan| {
                    let x = plan.input(Rows::Step, heads * head_dim);
                    let weight = plan.resources.weight_vector("vector", head_dim);
                    plan.rms_norm_heads(x, weight, head_dim, 1e-6)
                });
            case.vector("vector", head_dim).check(&gpu).await;
        }
        for (width, parts, rows) in [(6, 3, 2), (7680, 8, 1), (7680, 8, 5), (195, 3, 65)] {
            let name = format!("rms_norm {width} in {parts} parts, {rows} rows");
            let case = Case::new(name, rows, move |plan| {
                let x = plan.input(Rows::Step, width);
                let weight = plan.resources.weight_vector("vector", width);
                plan.rms_norm_by_parts(x, weight, parts, 1e-5)
            });
            case.vector("vector", width).check(&gpu).await;
        }
    });
}

#[test]
fn elementwise() {
    with_gpu(async |gpu| {
        for (width, rows) in [(1, 1), (65, 3), (576, 1), (1536, 17)] {
            let inputs = move |plan: &mut PlanBuilder<'_, '_>| {
                (plan.input(Rows::Step, width), plan.input(Rows::Step, width))
            };
            let name = format!("{width}, {rows} rows");
            let add = move |plan: &mut PlanBuilder<'_, '_>| {
                let (a, b) = inputs(plan);
                plan.add(a, b)
            };
            Case::new(format!("add {name}"), rows, add).check(&gpu).await;
            for function in [ActivationFunction::Silu, ActivationFunction::Gelu] {
                let gate = move |plan: &mut PlanBuilder<'_, '_>| {
                    let (gate, up) = inputs(plan);
                    plan.glu(gate, up, function)
                };
                Case::new(format!("glu {function:?} {name}"), rows, gate).check(&gpu).await;
            }
        }
        for (width, rows) in [(1, 2), (65, 3), (576, 64)] {
            let last = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, width);
                plan.last_row(x)
            };
            Case::new(format!("last_row {width}, {rows} rows"), rows, last).check(&gpu).await;
            let mean = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, width);
                plan.mean_rows(x)
            };
            Case::new(format!("mean_rows {width}, {rows} rows"), rows, mean).check(&gpu).await;
            // A vector for each of 70 positions.
            let case = Case::new(format!("vectors {width}, {rows} rows"), rows, move |plan| {
                let x = plan.input(Rows::Step, width);
                let vector = plan.resources.weight_vector("vector", 70 * width);
                plan.add_vector(x, vector, width)
            });
            case.vector("vector", 70 * width).check(&gpu).await;
        }
    });
}

#[test]
fn functions() {
    with_gpu(async |gpu| {
        let functions = [
            ActivationFunction::Silu,
            ActivationFunction::Gelu,
            ActivationFunction::GeluErf,
            ActivationFunction::ReluSquared,
        ];
        // One cap is near the inputs, one far above them.
        let parametric = [
            ActivationFunction::Scale(25.3),
            ActivationFunction::Softcap(1.5),
            ActivationFunction::Softcap(30.0),
        ];
        for function in functions.into_iter().chain(parametric) {
            for (width, rows) in [(1, 1), (65, 3), (1536, 17)] {
                // Inputs of a magnitude of 1e-3 to 2e3.
                for scale in [1.0, 1e-3, 2e3] {
                    let name = format!("{function:?} of {scale}, {width}, {rows} rows");
                    let write = move |plan: &mut PlanBuilder<'_, '_>| {
                        let x = plan.input(Rows::Step, width);
                        let x = plan.elementwise(x, ActivationFunction::Scale(scale));
                        plan.elementwise(x, function)
                    };
                    Case::new(name, rows, write).check(&gpu).await;
                }
            }
        }
    });
}

#[test]
fn biases() {
    with_gpu(async |gpu| {
        for (outputs, rows) in [(1, 1), (65, 3), (130, 17)] {
            let case = Case::new(format!("bias {outputs}, {rows} rows"), rows, move |plan| {
                let x = plan.input(Rows::Step, 64);
                let weight = plan.resources.weight_matrix("matrix", outputs, 64);
                let bias = Some(plan.resources.weight_vector("vector", outputs));
                plan.linear(Linear { weight, bias }, x)
            });
            case.matrix(Format::F32, outputs, 64).vector("vector", outputs).check(&gpu).await;
        }
    });
}
