//! Norms, and what goes element by element.

use tablm::kernels::Rows;
use tablm::plan::PlanBuilder;

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
            case.vector(width).check(&gpu).await;
        }
        for (width, parts, rows) in [(6, 3, 2), (7680, 8, 1), (7680, 8, 5), (195, 3, 65)] {
            let name = format!("rms_norm {width} in {parts} parts, {rows} rows");
            let case = Case::new(name, rows, move |plan| {
                let x = plan.input(Rows::Step, width);
                let weight = plan.resources.weight_vector("vector", width);
                plan.rms_norm_by_parts(x, weight, parts, 1e-5)
            });
            case.vector(width).check(&gpu).await;
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
            let gate = move |plan: &mut PlanBuilder<'_, '_>| {
                let (gate, up) = inputs(plan);
                plan.gated_activation(gate, up)
            };
            Case::new(format!("gated_activation {name}"), rows, gate).check(&gpu).await;
        }
        for (width, rows) in [(7, 1), (65, 3), (1536, 17)] {
            let relu_squared = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, width);
                plan.relu_squared(x)
            };
            let name = format!("relu_squared {width}, {rows} rows");
            Case::new(name, rows, relu_squared).check(&gpu).await;
        }
        for (width, rows) in [(1, 2), (65, 3), (576, 64)] {
            let last = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, width);
                plan.last_row(x)
            };
            Case::new(format!("last_row {width}, {rows} rows"), rows, last).check(&gpu).await;
        }
    });
}
