//! The gated short convolution: steps of one row and of many, every kernel size, odd widths, and
//! existing state.

use tablm::formats::Format;
use tablm::kernels::{Activation, Rows, ShortConv};
use tablm::plan::PlanBuilder;

use crate::{Case, with_gpu};

/// Appends a convolution to a plan.
fn write(
    plan: &mut PlanBuilder<'_, '_>,
    width: u32,
    kernel: u32,
    projected: Activation,
) -> Activation {
    let words = ShortConv::ring_words(width, kernel);
    let ring = plan.resources.recurrent_state("ring", words);
    let weights = plan.resources.recurrent_state("weights", u64::from(width * kernel));
    plan.short_conv(projected, weights, ring, kernel)
}

fn case(width: u32, kernel: u32, rows: u32, position: u32) -> Case<'static> {
    let name = format!("{width} columns, kernel {kernel}, {rows} rows at {position}");
    let case = Case::new(name, rows, move |plan| {
        let projected = plan.input(Rows::Step, 3 * width);
        write(plan, width, kernel, projected)
    });
    case.at(position)
}

/// Columns: one, odd sizes, over a workgroup, and those of LFM3 1.7B.
const WIDTHS: [u32; 5] = [1, 33, 64, 100, 2048];

#[test]
fn short_conv_of_one_token() {
    with_gpu(async |gpu| {
        for width in WIDTHS {
            for kernel in 2..=ShortConv::MAX_KERNEL {
                for position in [0, 1, 6, 4001] {
                    case(width, kernel, 1, position).check(&gpu).await;
                }
            }
        }
    });
}

/// Fewer rows than the kernel has, whole workgroups, and one row more.
#[test]
fn short_conv_of_many_rows() {
    with_gpu(async |gpu| {
        for width in WIDTHS {
            for kernel in 2..=ShortConv::MAX_KERNEL {
                for (position, rows) in [(0, 2), (5, 3), (1, 6), (130, 16), (7, 17), (0, 65)] {
                    case(width, kernel, rows, position).check(&gpu).await;
                }
            }
        }
    });
}

/// A product of the convolution's output also computes the next norm's sums.
#[test]
fn short_conv_between_its_projections() {
    with_gpu(async |gpu| {
        const WIDTH: u32 = 70;
        let mut case = case(WIDTH, 3, 1, 5);
        case.write = Box::new(|plan| {
            let x = plan.input(Rows::Step, WIDTH);
            let input = plan.resources.weight_matrix("input", 3 * WIDTH, WIDTH);
            let projected = plan.matmul(input, x);
            let y = write(plan, WIDTH, 3, projected);
            let matrix = plan.resources.weight_matrix("matrix", WIDTH, WIDTH);
            let y = plan.matmul(matrix, y);
            plan.add(x, y)
        });
        case.fused = Some(vec!["matvec", "short_conv", "matvec"]);
        let shape = vec![3 * WIDTH as usize, WIDTH as usize];
        case.shapes.0.insert("input".into(), (Format::F16, shape));
        case.matrix(Format::F16, WIDTH, WIDTH).check(&gpu).await;
    });
}
