//! Products with weight matrices, and lookups of embedding rows.

use std::collections::HashMap;
use std::rc::Rc;

use tablm::formats::Format;
use tablm::gpu::Gpu;
use tablm::kernels::{Arithmetic, MatmulTiling, MatvecStrategy, Rows};
use tablm::plan::Resources;

use crate::{Case, Shapes, with_gpu};

/// Row widths to test: around a unit for float formats, whole blocks for other formats, and widths
/// of real models.
fn columns(format: Format) -> Vec<u32> {
    let block = format.rules().block_weights() as u32;
    match block {
        1 => vec![1, 31, 33, 64, 577],
        16 => vec![16, 48, 576, 1536],
        32 => vec![32, 64, 96, 576, 1536],
        64 | 128 => vec![block, 3 * block, 1536],
        _ => vec![block, 2 * block, 3 * block, 3072],
    }
}

#[test]
fn matvec() {
    with_gpu(async |gpu| {
        for format in Format::ALL {
            for columns in columns(format) {
                for (outputs, rows) in [(1, 4), (3, 1), (65, 2), (192, 1), (130, 3)] {
                    let name = format!("matvec {format:?} {outputs}x{columns}, {rows} rows");
                    project(&name, format, outputs, columns, rows, 1 << 27).check(&gpu).await;
                }
            }
        }
    });
}

#[test]
fn every_matvec_strategy() {
    with_gpu(async |gpu| {
        for strategy in strategies(&gpu) {
            for format in Format::ALL {
                let columns = columns(format)[2];
                for (outputs, rows) in [(3, 1), (130, 2)] {
                    let name =
                        format!("{} {format:?} {outputs}x{columns}, {rows} rows", strategy.name());
                    let mut case = project(&name, format, outputs, columns, rows, 1 << 27);
                    case.strategy = strategy;
                    case.bound = match strategy.for_format(format).arithmetic {
                        // The CPU reference does not sum in half precision; 1.9e-7 was seen.
                        Arithmetic::F16 => 6e-7,
                        // Inputs halfway between two integers may round differently; against
                        // unrounded inputs, 2e-5 was seen.
                        Arithmetic::Dp4a | Arithmetic::Int10x2 => 2e-6,
                        Arithmetic::F32 => case.bound,
                    };
                    case.check(&gpu).await;
                }
            }
        }
    });
}

/// Strategies that the adapter supports.
pub(crate) fn strategies(gpu: &Gpu) -> impl Iterator<Item = MatvecStrategy> {
    MatvecStrategy::ALL
        .into_iter()
        .filter(|strategy| strategy.missing_feature(&gpu.report.features).is_none())
}

/// Tilings that the adapter supports.
pub(crate) fn tilings(gpu: &Gpu) -> impl Iterator<Item = MatmulTiling> {
    MatmulTiling::ALL
        .into_iter()
        .filter(|tiling| tiling.missing_feature(&gpu.report.features).is_none())
}

/// Checks a case with a tiling of either kind of loads: each lane for itself, and for other lanes.
pub(crate) async fn check_by_loads(gpu: &Rc<Gpu>, case: impl Fn() -> Case<'static>) {
    let tested = [MatmulTiling::WorkgroupMemory, MatmulTiling::RegistersBroadcast4];
    for tiling in tilings(gpu).filter(|tiling| tested.contains(tiling)) {
        let mut case = case();
        case.name += &format!(", {}", tiling.name());
        Case { tiling, ..case }.check(gpu).await;
    }
}

#[test]
fn matmul() {
    with_gpu(async |gpu| {
        // The other tilings differ from `Registers` in the loads of inputs, whatever the format.
        for tiling in [MatmulTiling::WorkgroupMemory, MatmulTiling::Registers] {
            for format in Format::ALL {
                let all = columns(format);
                // One width suffices for the second tiling.
                let tested =
                    if tiling == MatmulTiling::WorkgroupMemory { &all[..] } else { &all[2..3] };
                for (i, columns) in tested.iter().enumerate() {
                    // One row count per width, because each plan compiles shaders.
                    let rows = [5, 31, 32, 33, 65][i % 5];
                    let name =
                        format!("matmul {} {format:?} 33x{columns}, {rows} rows", tiling.name());
                    let mut case = project(&name, format, 33, *columns, rows, 1 << 27);
                    case.tiling = tiling;
                    case.check(&gpu).await;
                }
            }
        }
    });
}

/// Row and output counts around the edges of the tilings.
#[test]
fn matmul_at_tile_edges() {
    with_gpu(async |gpu| {
        for tiling in tilings(&gpu) {
            for (i, rows) in
                [5, 7, 8, 9, 16, 17, 32, 33, 63, 64, 65, 70, 130].into_iter().enumerate()
            {
                let outputs = [520, 1, 65, 129][i % 4];
                let name = format!("matmul {} {outputs}x64, {rows} rows", tiling.name());
                let mut case = project(&name, Format::Q4_1, outputs, 64, rows, 1 << 27);
                case.tiling = tiling;
                case.check(&gpu).await;
            }
            let mut case = project("matmul of f32 weights", Format::F32, 65, 33, 130, 1 << 27);
            case.tiling = tiling;
            case.check(&gpu).await;
        }
    });
}

#[test]
fn matrices_larger_than_a_binding_are_split() {
    with_gpu(async |gpu| {
        for format in [Format::Q8_0, Format::F8_E4M3] {
            for rows in [1, 40] {
                let name = format!("split {format:?}, {rows} rows");
                let case = project(&name, format, 300, 64, rows, 64 * 128);
                case.check(&gpu).await;
            }
        }
        let mut case = embed(Format::F16, 300, 96, vec![0, 63, 64, 127, 128, 299]);
        case.max_binding_bytes = 96 * 2 * 64;
        case.check(&gpu).await;
    });
}

/// Vocabulary and width of Nemotron 3 Nano 4B, with WebGPU's default limit of bindings.
#[test]
fn largest_matrices_are_split_into_parts_that_fit_a_binding() {
    const MAX_BINDING_BYTES: u64 = 128 << 20;
    let (rows, columns) = (131_072, 3136);
    for (format, part_count) in [
        (Format::Q5_0, 2),
        (Format::Q8_0, 4),
        (Format::BF16, 7),
        (Format::F32, 13),
        (Format::F8_E4M3, 4),
    ] {
        let shape = vec![rows as usize, columns as usize];
        let shapes = Shapes(HashMap::from([("matrix".into(), (format, shape))]));
        let mut resources = Resources::new(&shapes, MAX_BINDING_BYTES);
        let matrix = resources.weight_matrix("matrix", rows, columns);
        resources.check_complete("test").unwrap();
        let info = &resources.matrices()[0];
        let parts = resources.parts(matrix);
        assert_eq!(parts.len(), part_count, "{format:?}");
        let mut next_row = 0;
        for (index, part) in (0..).zip(&parts) {
            assert_eq!(part.first_row, next_row, "{format:?}");
            next_row += part.rows;
            let mut planes = info.plane_bytes(index).into_iter();
            assert!(planes.all(|bytes| bytes <= MAX_BINDING_BYTES), "{format:?}");
        }
        assert_eq!(next_row, rows, "{format:?}");
        let row_bytes: usize = format.rules().plane_row_bytes(columns as usize).iter().sum();
        assert_eq!(info.size_bytes(), u64::from(rows) * row_bytes as u64, "{format:?}");
    }
}

/// A product of `rows` rows with a matrix of `outputs` × `columns`.
fn project(
    name: &str,
    format: Format,
    outputs: u32,
    columns: u32,
    rows: u32,
    max_binding_bytes: u64,
) -> Case<'static> {
    let mut case = Case::new(name, rows, move |plan| {
        let x = plan.input(Rows::Step, columns);
        let matrix = plan.resources.weight_matrix("matrix", outputs, columns);
        plan.matmul(matrix, x)
    });
    case.max_binding_bytes = max_binding_bytes;
    case.matrix(format, outputs, columns)
}

/// A lookup of the embedding rows of `tokens`.
fn embed(format: Format, vocabulary: u32, columns: u32, tokens: Vec<u32>) -> Case<'static> {
    let name = format!("embed {format:?} {vocabulary}x{columns}");
    let mut case = Case::new(name, tokens.len() as u32, move |plan| {
        let matrix = plan.resources.weight_matrix("matrix", vocabulary, columns);
        plan.embed(matrix)
    });
    case.tokens = tokens;
    case.matrix(format, vocabulary, columns)
}

#[test]
fn embedding_rows() {
    with_gpu(async |gpu| {
        for format in Format::ALL {
            for columns in columns(format) {
                embed(format, 50, columns, vec![0, 49, 7]).check(&gpu).await;
                embed(format, 50, columns, vec![3]).check(&gpu).await;
            }
        }
    });
}
