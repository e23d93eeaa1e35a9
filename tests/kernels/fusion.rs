//! Kernels that fusion makes one of: on the GPU as they mean, and meaning what the plan did before.

use tablm::formats::Format;
use tablm::kernels::{Activation, Function, Rows};
use tablm::plan::PlanBuilder;

use crate::{Case, with_gpu};

/// Rows and columns of a matrix: one unit and odd ones, a workgroup and more, real ones.
const SHAPES: [[u32; 2]; 5] = [[1, 32], [6, 64], [65, 33], [576, 192], [300, 1536]];

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
    let matrix = plan.resources.weight_matrix(name, rows, columns);
    plan.matmul(matrix, x)
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
                let y = product(plan, "a", into, x);
                let residual = plan.add(residual, y);
                let weight = plan.resources.weight_vector("norm", width);
                let h = plan.rms_norm(residual, weight, 1e-5);
                let y = product(plan, "b", out, h);
                let z = product(plan, "c", [width, 70], y);
                plan.add(residual, z)
            };
            let matrices = [("a", into), ("b", out), ("c", [width, 70])];
            case("norm", &matrices, &["matvec"; 3], write).vector("norm", width).check(&gpu).await;
        }
    });
}
