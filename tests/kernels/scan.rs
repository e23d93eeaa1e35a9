//! The scan of a Mamba-2 mixer: steps of one row and of many, real and odd shapes, existing state,
//! and extreme decays.

use std::collections::HashMap;

use tablm::formats::Format;
use tablm::kernels::{Rows, ScanBuffers, ScanShape};
use tablm::plan::PlanBuilder;

use crate::common::random::Random;
use crate::matrices::check_by_loads;
use crate::{Case, with_gpu};

/// Draws the bias of dt and the decay A of a head.
type Scalars = fn(&mut Random) -> (f32, f32);

/// Values of an initialized model: dt about 0.001 to 0.1, A from -16 to -1.
fn ordinary(random: &mut Random) -> (f32, f32) {
    (-4.5 + 2.0 * random.uniform(), -8.5 + 7.5 * random.uniform())
}

/// Extreme values: dt from e^-30 to 30, A from -e^9 to -e^-9, so that a state decays at once or
/// never.
fn adversarial(random: &mut Random) -> (f32, f32) {
    (30.0 * random.uniform(), -(9.0 * random.uniform()).exp())
}

/// Appends a scan to a plan.
fn write(plan: &mut PlanBuilder<'_, '_>, shape: ScanShape) -> tablm::kernels::Activation {
    let projected = plan.input(Rows::Step, shape.projected());
    let channels = u64::from(shape.channels());
    let buffers = ScanBuffers {
        conv: plan.resources.recurrent_state("conv", channels * u64::from(shape.conv_kernel + 1)),
        scalars: plan.resources.recurrent_state("scalars", 3 * u64::from(shape.head_count)),
        ring: plan.resources.recurrent_state("ring", shape.ring_words()),
        state: plan.resources.recurrent_state("state", shape.state_words()),
    };
    plan.scan(projected, buffers, shape)
}

fn case(shape: ScanShape, rows: u32, position: u32, scalars: Scalars) -> Case<'static> {
    let mut random = Random::new(u64::from(rows) + 3);
    let mut words = HashMap::new();
    let scalars: Vec<_> = (0..shape.head_count).map(|_| scalars(&mut random)).collect();
    let skips = random.normals(scalars.len());
    let biases = scalars.iter().map(|(bias, _)| *bias);
    let all = biases.chain(scalars.iter().map(|(_, decay)| *decay)).chain(skips).collect();
    words.insert("scalars".into(), all);
    // Padding of heads and state is always zero.
    let head_stride = shape.head_dim.next_multiple_of(16);
    let state_stride = shape.state_size.next_multiple_of(32);
    let state = (0..shape.state_words() as u32).map(|i| {
        let is_padding =
            i % head_stride >= shape.head_dim || i / head_stride % state_stride >= shape.state_size;
        if is_padding { 0.0 } else { random.normal() }
    });
    words.insert("state".into(), state.collect());
    let mut case =
        Case::new(format!("scan {shape:?} at {position}, {rows} rows"), rows, move |plan| {
            write(plan, shape)
        });
    case.words = words;
    case.at(position)
}

const fn shape(heads: [u32; 2], group_count: u32, state_size: u32, conv_kernel: u32) -> ScanShape {
    let [head_count, head_dim] = heads;
    let (z_scale, dt_scale) = (Some(1.0), 1.0);
    ScanShape { head_count, head_dim, group_count, state_size, conv_kernel, z_scale, dt_scale }
}

/// Few and many heads per group, and sizes that are and are not multiples of a tile.
const SHAPES: [ScanShape; 9] = [
    shape([1, 1], 1, 1, 1),
    shape([3, 5], 1, 7, 3),
    shape([6, 16], 2, 16, 2),
    shape([8, 64], 8, 64, 4),
    shape([12, 80], 1, 128, 4),
    shape([2, 33], 2, 100, 8),
    shape([2, 256], 1, 256, 4),
    // Scaled inputs, and no gate.
    ScanShape { z_scale: Some(0.3), dt_scale: 1.5, ..shape([3, 20], 1, 24, 4) },
    ScanShape { z_scale: None, dt_scale: 0.25, ..shape([4, 16], 2, 16, 3) },
];

/// Nemotron 3 Nano 4B.
const NEMOTRON_4B: ScanShape = shape([96, 80], 8, 128, 4);

#[test]
fn scan_of_one_token() {
    with_gpu(async |gpu| {
        for scalars in [ordinary as Scalars, adversarial] {
            for shape in SHAPES {
                for position in [0, 1, 6, 4001] {
                    case(shape, 1, position, scalars).check(&gpu).await;
                }
            }
        }
        case(NEMOTRON_4B, 1, 70, ordinary).check(&gpu).await;
    });
}

#[test]
fn scan_of_many_rows() {
    with_gpu(async |gpu| {
        for scalars in [ordinary as Scalars, adversarial] {
            for shape in SHAPES {
                for (position, rows) in [(0, 2), (1, 32), (5, 33), (130, 64), (7, 65), (0, 150)] {
                    check_by_loads(&gpu, || case(shape, rows, position, scalars)).await;
                }
            }
        }
        check_by_loads(&gpu, || case(NEMOTRON_4B, 64, 70, ordinary)).await;
    });
}

#[test]
fn scan_fuses_with_its_norm() {
    with_gpu(async |gpu| {
        for shape in [SHAPES[2], SHAPES[3], SHAPES[4], NEMOTRON_4B] {
            let mut case = case(shape, 1, 5, ordinary);
            case.write = Box::new(move |plan| {
                let y = write(plan, shape);
                let norm = plan.resources.weight_vector("norm", shape.inner());
                let y = plan.rms_norm_by_parts(y, norm, shape.group_count, 1e-5);
                let matrix = plan.resources.weight_matrix("matrix", 70, shape.inner());
                plan.matmul(matrix, y)
            });
            // The norm does not fuse if its parts are not whole units, as in the first shape.
            let kernels: &[_] = if shape.head_dim == 16 {
                &["ssm_step", "rms_norm", "matvec"]
            } else {
                &["ssm_step", "matvec"]
            };
            case.fused = Some(kernels.to_vec());
            case.matrix(Format::F16, 70, shape.inner())
                .vector("norm", shape.inner())
                .check(&gpu)
                .await;
        }
    });
}
