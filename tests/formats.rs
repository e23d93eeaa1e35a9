//! Weight formats: dequantization against golden blocks, and planes against dequantization.
//!
//! tests/data/make_format_golden.py makes the blocks. Here a model of each shader in Rust reads the
//! planes; tests/kernels runs the shaders.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

#[path = "formats/shader_model.rs"]
mod shader_model;

use tablm::Code;
use tablm::formats::{FloatKind, Format, Int, MAX_PLANES, Mlx, MlxScales, UNIT};

use shader_model::{Planes, mlx_parameters, repack, weights32};

/// One stored row of a format and its values.
struct Golden {
    stored: Vec<u8>,
    values: Vec<f32>,
}

fn golden(format: Format) -> Golden {
    let path = format!(
        "{}/tests/data/formats/{}.bin",
        env!("CARGO_MANIFEST_DIR"),
        format.name().to_lowercase()
    );
    let bytes = std::fs::read(&path).expect(&path);
    let rules = format.rules();
    let blocks = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    let (stored, values) =
        bytes[4..].split_at(rules.row_header_bytes() + blocks * rules.block_bytes());
    assert_eq!(values.len(), blocks * rules.block_weights() * 4, "{path}");
    let values =
        values.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    Golden { stored: stored.to_vec(), values }
}

#[test]
fn dequantized_values_equal_the_golden_values_bitwise() {
    for format in Format::ALL {
        let golden = golden(format);
        let mut values = vec![f32::NAN; golden.values.len()];
        format.rules().dequantize_row(&golden.stored, &mut values);
        for (index, (found, expected)) in values.iter().zip(&golden.values).enumerate() {
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{format:?} weight {index}: found {found}, expected {expected}"
            );
        }
    }
}

/// Row widths to test: one column, around a unit, odd numbers of blocks, widths of real models.
fn columns(format: Format) -> &'static [usize] {
    match format.rules().block_weights() {
        1 => &[1, 2, 31, 32, 33, 576, 579],
        16 => &[16, 48, 576],
        32 => &[32, 64, 96, 576, 1536],
        64 => &[64, 192, 576],
        128 => &[128, 384],
        _ => &[256, 512, 768],
    }
}

/// Three to five stored rows, filled with the golden blocks in order.
fn golden_rows(format: Format, columns: usize) -> Vec<u8> {
    let (rules, golden) = (format.rules(), golden(format));
    let (header, blocks) = golden.stored.split_at(rules.row_header_bytes());
    let mut blocks = blocks.chunks_exact(rules.block_bytes()).cycle();
    let row_blocks = columns / rules.block_weights();
    let rows = (golden.values.len() / columns).clamp(3, 5);
    let row = |_| {
        let blocks = blocks.by_ref().take(row_blocks).flatten().copied();
        [header.to_vec(), blocks.collect()].concat()
    };
    (0..rows).flat_map(row).collect()
}

#[test]
fn planes_hold_the_dequantized_values() {
    for format in Format::ALL {
        for &columns in columns(format) {
            let stored = golden_rows(format, columns);
            let rows = stored.len() / format.row_bytes(columns).unwrap();
            let planes = repack(format, columns, rows, &stored);
            let planes = Planes { format, columns, planes: &planes };
            let mut expected = vec![0.0; rows * columns];
            format.dequantize(columns, &stored, &mut expected).unwrap();
            for row in 0..rows {
                let units =
                    (0..columns.div_ceil(UNIT)).flat_map(|unit| weights32(&planes, row, unit));
                let found: Vec<f32> = units.collect();
                let (weights, padding) = found.split_at(columns);
                let mut pairs = weights.iter().zip(&expected[row * columns..]);
                let differing = pairs.position(|(a, b)| a.to_bits() != b.to_bits());
                let what = format!("{format:?}, {columns} columns, row {row}");
                assert_eq!(differing, None, "{what}: first differing weight");
                assert!(padding.iter().all(|&weight| weight == 0.0), "{what}: padding");
            }
        }
    }
}

#[test]
fn plane_count_is_within_the_documented_limit() {
    let document = include_str!("../shaders/formats/README.md");
    assert_eq!(MAX_PLANES, 3);
    assert!(document.contains("at most three (`formats::MAX_PLANES`)"));
    for format in Format::ALL {
        let count = format.rules().plane_count();
        assert!((1..=MAX_PLANES).contains(&count), "{format:?}: {count} planes");
        for &columns in columns(format) {
            assert_eq!(format.rules().plane_row_bytes(columns).len(), count, "{format:?}");
        }
    }
}

#[test]
fn planes_are_as_large_as_the_stored_rows() {
    for format in Format::ALL {
        let columns = 1536;
        let stored = format.row_bytes(columns).unwrap();
        let planes: usize = format.rules().plane_row_bytes(columns).iter().sum();
        // Formats with code books are rewritten: bytes of a super-block.
        let rewritten = match format.stem() {
            "iq2" => Some(106),
            "iq3" => Some(134),
            _ => None,
        };
        // Factor and divisor become one number.
        let stored = stored - if format == Format::NVFP4_F32 { 4 } else { 0 };
        assert_eq!(planes, rewritten.map_or(stored, |bytes| columns / 256 * bytes), "{format:?}");
    }
}

/// Byte offsets of the scales in a block; of the value, in float formats.
fn scale_offsets(format: Format) -> &'static [usize] {
    match format {
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
        Format::Q6_K => &[208],
        Format::Q2_K => &[80, 82],
        Format::Q3_K => &[108],
        Format::MLX(_) | Format::INT(_) if mlx_parameters(format)[2] == 2 => &[0, 4],
        Format::MLX(_) | Format::INT(_) => &[0, 2],
        _ => &[0],
    }
}

#[test]
fn non_finite_scales_are_found() {
    for format in Format::ALL {
        let rules = format.rules();
        let (header, size) = (rules.row_header_bytes(), rules.block_bytes());
        let columns = *columns(format).last().unwrap();
        let stored = golden_rows(format, columns);
        assert_eq!(format.first_non_finite_row(columns, &stored).unwrap(), None, "{format:?}");
        let scale_format = match format {
            Format::MLX(_) | Format::INT(_) => {
                [Format::F16, Format::BF16, Format::F32][mlx_parameters(format)[2]]
            }
            _ => format,
        };
        let non_finite: &[&[u8]] = match scale_format {
            Format::F32 => &[&[0, 0, 0x80, 0x7f], &[1, 0, 0x80, 0xff], &[0, 0, 0xc0, 0x7f]],
            Format::BF16 => &[&[0x80, 0x7f], &[0x80, 0xff], &[0xc0, 0x7f]],
            Format::F8_E4M3 => &[&[0x7f], &[0xff]],
            Format::F8_E4M3_128 => &[&[0, 0, 0x80, 0x7f], &[0, 0, 0, 0, 0x7f], &[0, 0, 0, 0, 0xff]],
            // Every bit pattern is a finite scale.
            Format::T4 | Format::NVFP4 => &[],
            Format::MXFP4 => &[&[253], &[255]],
            Format::MXFP8 => &[&[247], &[255], &[0, 0x7f], &[0, 0xff]],
            Format::NVFP4_F32 => &[&[0x7f], &[0xff]],
            _ => &[&[0, 0x7c], &[0, 0xfc], &[1, 0x7e]],
        };
        let row_bytes = format.row_bytes(columns).unwrap();
        let check = |at: usize, scale: &[u8]| {
            let mut stored = stored.clone();
            stored[2 * row_bytes + at..][..scale.len()].copy_from_slice(scale);
            let found = format.first_non_finite_row(columns, &stored).unwrap();
            assert_eq!(found, Some(2), "{format:?} {at}");
        };
        for at in scale_offsets(format) {
            non_finite.iter().for_each(|scale| check(header + size + at, scale));
        }
        if header > 0 {
            [f32::NAN, f32::INFINITY].iter().for_each(|scale| check(0, &scale.to_le_bytes()));
        }
    }
}

#[test]
fn rows_of_partial_blocks_are_refused() {
    for format in Format::ALL {
        let rules = format.rules();
        let (weights, bytes) = (rules.block_weights(), rules.block_bytes());
        let expected = rules.row_header_bytes() + 3 * bytes;
        assert_eq!(format.row_bytes(3 * weights).unwrap(), expected);
        for wrong in
            [0, weights + weights / 2].into_iter().filter(|wrong| *wrong == 0 || weights > 1)
        {
            let error = format.row_bytes(wrong).unwrap_err();
            assert_eq!(error.code(), Code::Malformed);
            assert!(error.message().contains(format.name()), "{error}");
        }
        // The number of bytes overflows `usize`.
        if bytes > weights {
            assert!(format.row_bytes(usize::MAX / weights * weights).is_err(), "{format:?}");
        }
    }
}

#[test]
fn names_and_type_numbers_convert_back_to_formats() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
        if let Some(number) = format.gguf_type() {
            assert_eq!(Format::from_gguf_type(number), Some(format));
            assert_eq!(Format::gguf_type_name(number), Some(format.name()));
        }
    }
    for bits in [2, 3, 4, 5, 6, 8] {
        for group in [32, 64, 128] {
            for scales in [MlxScales::F16, MlxScales::BF16, MlxScales::F32] {
                let format = Format::MLX(Mlx::new(bits, group, scales).unwrap());
                assert_eq!(format.name(), format!("MLX{bits}_{group}_{scales:?}"));
                assert_eq!(Format::from_name(format.name()), Some(format));
            }
        }
    }
    assert_eq!(Format::from_name("MLX7_64_F16"), None);
    for (bits, group) in [(0, 64), (1, 64), (7, 64), (9, 64), (4, 16), (4, 256), (258, 64)] {
        assert_eq!(Mlx::new(bits, group, MlxScales::F16), None, "{bits} {group}");
    }
    for bits in [4, 8] {
        for group in [32, 64, 128] {
            for (scales, name) in
                [(FloatKind::F16, "F16"), (FloatKind::BF16, "BF16"), (FloatKind::F32, "F32")]
            {
                let format = Format::INT(Int::new(bits, group, scales).unwrap());
                assert_eq!(format.name(), format!("INT{bits}_{group}_{name}"));
                assert_eq!(Format::from_name(format.name()), Some(format));
            }
        }
    }
    assert_eq!(Int::new(2, 64, FloatKind::F16), None);
    assert_eq!(Int::new(4, 16, FloatKind::F16), None);
    assert_eq!(Format::from_gguf_type(19), None);
    assert_eq!(Format::gguf_type_name(19), Some("IQ1_S"));
    assert_eq!(Format::gguf_type_name(34), Some("TQ1_0"));
    assert_eq!(Format::gguf_type_name(1000), None);
    assert_eq!(Format::from_safetensors_dtype("BF16"), Some(Format::BF16));
    assert_eq!(Format::from_safetensors_dtype("F8_E4M3"), None);
}
