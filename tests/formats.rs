//! Weight formats: exact against the golden blocks, and planes that hold the same numbers.
//!
//! The blocks come from tests/data/make_format_golden.py. What a GPU makes of the planes is
//! checked where the kernels are; here a model of each `weights32` in plain Rust reads them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

use half::f16;
use tablm::Code;
use tablm::formats::{Format, Mlx, MlxScales, UNIT};

/// Stored blocks, all of one row, and their values.
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
fn values_are_those_of_the_independent_implementation_to_the_bit() {
    for format in Format::ALL {
        let golden = golden(format);
        let mut values = vec![f32::NAN; golden.values.len()];
        format.rules().dequantize_row(&golden.stored, &mut values);
        for (index, (ours, theirs)) in values.iter().zip(&golden.values).enumerate() {
            assert_eq!(
                ours.to_bits(),
                theirs.to_bits(),
                "{format:?} weight {index}: {ours} and {theirs}"
            );
        }
    }
}

/// Columns to try: real rows, one, odd, just over a unit, and an odd number of blocks.
fn columns(format: Format) -> &'static [usize] {
    match format.rules().block_weights() {
        1 => &[1, 2, 31, 32, 33, 576, 579],
        32 => &[32, 64, 96, 576, 1536],
        64 => &[64, 192, 576],
        128 => &[128, 384],
        _ => &[256, 512, 768],
    }
}

/// One plane of several rows, as words.
struct Plane(Vec<u32>);

/// Repacks `rows` rows of golden blocks.
fn planes(format: Format, columns: usize, rows: usize, stored: &[u8]) -> Vec<Plane> {
    let rules = format.rules();
    let row_bytes = format.row_bytes(columns).unwrap();
    let sizes = rules.plane_row_bytes(columns);
    assert!(sizes.iter().all(|size| size % 4 == 0), "{format:?}: {sizes:?}");
    let mut planes: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0; size * rows]).collect();
    for row in 0..rows {
        let cut = planes.iter_mut().zip(&sizes);
        let mut cut: Vec<&mut [u8]> =
            cut.map(|(plane, size)| &mut plane[row * size..(row + 1) * size]).collect();
        rules.repack_row(columns, &stored[row * row_bytes..(row + 1) * row_bytes], &mut cut);
    }
    let words = |plane: Vec<u8>| {
        Plane(plane.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect())
    };
    planes.into_iter().map(words).collect()
}

fn half(word: u32, index: usize) -> f32 {
    f16::from_bits((word >> (16 * index)) as u16).to_f32()
}

fn bytes(word: u32) -> [f32; 4] {
    word.to_le_bytes().map(f32::from)
}

/// The eight quads of nibbles of a unit, each with the bits of `high(k)` above.
fn quads(plane: &Plane, at: usize, high: impl Fn(usize) -> u32) -> [[f32; 4]; 8] {
    std::array::from_fn(|k| {
        let word = plane.0[4 * at + k / 2] >> (4 * (k % 2));
        bytes((word & 0x0f0f_0f0f) | high(k))
    })
}

/// Bit 4 of each byte from bit `8i + k`.
fn fifth(word: u32, k: usize) -> u32 {
    ((word >> k) & 0x0101_0101) << 4
}

/// Scale and minus the minimum of a group of a K-quant from its four words.
fn k_scale(words: &[u32], group: usize) -> (f32, f32) {
    let low = words[1 + group / 4] >> (8 * (group % 4));
    let high = words[3] >> (4 * group);
    let scale = (low & 15) | ((high & 3) << 4);
    let minimum = ((low >> 4) & 15) | (((high >> 2) & 3) << 4);
    (half(words[0], 0) * scale as f32, -(half(words[0], 1) * minimum as f32))
}

/// An FP8 number, by its definition.
fn f8(byte: u8) -> f32 {
    let (sign, exponent, mantissa) =
        (if byte < 128 { 1.0 } else { -1.0 }, i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let magnitude = match exponent {
        0 => mantissa / 8.0 * 2f32.powi(-6),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    sign * magnitude
}

fn scaled(quads: [[f32; 4]; 8], value: impl Fn(usize, f32) -> f32) -> Vec<f32> {
    let each = quads.iter().enumerate();
    each.flat_map(|(k, quad)| quad.map(|quant| value(k, quant))).collect()
}

/// Bits, weights of a group, and how scales are stored: 0 in F16, 1 in BF16, 2 in F32.
fn mlx_numbers(format: Format) -> [usize; 3] {
    let numbers: Vec<usize> =
        format.rules().constants().iter().map(|(_, value)| *value as usize).collect();
    numbers.try_into().unwrap()
}

fn mlx_weights32(
    format: Format,
    columns: usize,
    planes: &[Plane],
    row: usize,
    unit: usize,
) -> Vec<f32> {
    let [mlx_bits, group, scales] = mlx_numbers(format);
    let (at, group) = (row * columns / UNIT + unit, row * columns / group + UNIT * unit / group);
    let pairs = &planes[1].0;
    let (scale, bias) = match scales {
        0 => (half(pairs[group], 0), half(pairs[group], 1)),
        1 => (f32::from_bits(pairs[group] << 16), f32::from_bits(pairs[group] >> 16 << 16)),
        _ => (f32::from_bits(pairs[2 * group]), f32::from_bits(pairs[2 * group + 1])),
    };
    let quants = match mlx_bits {
        4 => quads(&planes[0], at, |_| 0),
        _ => std::array::from_fn(|k| bytes(planes[0].0[8 * at + k])),
    };
    scaled(quants, |_, quant| scale * quant + bias)
}

/// What `weights32` of the format's shader computes.
fn weights32(
    format: Format,
    columns: usize,
    planes: &[Plane],
    row: usize,
    unit: usize,
) -> Vec<f32> {
    let units = columns.div_ceil(UNIT);
    let at = row * units + unit;
    let half_of = |base: usize, index: usize| half(planes[1].0[base + index / 2], index % 2);
    match format {
        Format::F32 => planes[0].0[32 * at..][..32].iter().map(|&w| f32::from_bits(w)).collect(),
        Format::F16 => (0..32).map(|i| half(planes[0].0[16 * at + i / 2], i % 2)).collect(),
        Format::BF16 => (0..32)
            .map(|i| f32::from_bits(planes[0].0[16 * at + i / 2] >> (16 * (i % 2)) << 16))
            .collect(),
        Format::F8_E4M3 => {
            let scale = f32::from_bits(planes[1].0[row]);
            planes[0].0[8 * at..][..8]
                .iter()
                .flat_map(|w| w.to_le_bytes().map(|b| scale * f8(b)))
                .collect()
        }
        Format::Q8_0 => {
            let scale = half_of(row * units.div_ceil(2), unit);
            let words = &planes[0].0[8 * at..][..8];
            words.iter().flat_map(|w| w.to_le_bytes().map(|b| scale * f32::from(b as i8))).collect()
        }
        Format::Q4_0 => {
            let scale = half_of(row * units.div_ceil(2), unit);
            scaled(quads(&planes[0], at, |_| 0), |_, q| scale * (q - 8.0))
        }
        Format::T4 => {
            let head =
                planes[1].0[row * units.div_ceil(2) + unit / 2] >> (16 * (unit % 2)) & 0xffff;
            let scale = 2f32.powi((head >> 11) as i32 - 24) * (1.0 + (head >> 8 & 7) as f32 / 8.0);
            let (bend, shift) = ((head & 7) as f32 / 256.0, (head >> 3 & 31) as f32 / 4.0 - 4.0);
            let u = |q: f32| q - 7.5;
            scaled(quads(&planes[0], at, |_| 0), |_, q| {
                scale * (u(q) + bend * u(q).powi(3) + shift)
            })
        }
        Format::Q4_1 => {
            let (scale, minimum) = (half(planes[1].0[at], 0), half(planes[1].0[at], 1));
            scaled(quads(&planes[0], at, |_| 0), |_, q| scale * q + minimum)
        }
        Format::Q5_0 => {
            let base = row * (units + units.div_ceil(2));
            let (high, scale) = (planes[1].0[base + unit], half_of(base + units, unit));
            scaled(quads(&planes[0], at, |k| fifth(high, k)), |_, q| scale * (q - 16.0))
        }
        Format::Q5_1 => {
            let (high, both) = (planes[1].0[2 * at], planes[1].0[2 * at + 1]);
            let (scale, minimum) = (half(both, 0), half(both, 1));
            scaled(quads(&planes[0], at, |k| fifth(high, k)), |_, q| scale * q + minimum)
        }
        Format::MLX(_) => mlx_weights32(format, columns, planes, row, unit),
        Format::Q4_K => {
            let words = &planes[1].0[4 * (row * (units / 8) + unit / 8)..][..4];
            let (scale, minimum) = k_scale(words, unit % 8);
            scaled(quads(&planes[0], at, |_| 0), |_, q| scale * q + minimum)
        }
        Format::Q5_K => {
            let words = &planes[1].0[12 * (row * (units / 8) + unit / 8)..][..12];
            let (scale, minimum) = k_scale(words, unit % 8);
            let high = words[4 + unit % 8];
            scaled(quads(&planes[0], at, |k| fifth(high, k)), |_, q| scale * q + minimum)
        }
        Format::Q6_K => {
            let (blocks, block, group) = (units / 8, unit / 8, unit % 8);
            let base = row * (20 * blocks + blocks.div_ceil(2));
            let words = &planes[1].0[base + 20 * block..][..20];
            let d = half_of(base + 20 * blocks, block);
            let scale = |k: usize| {
                let byte = 2 * group + k / 4;
                d * f32::from((words[16 + byte / 4] >> (8 * (byte % 4))) as u8 as i8)
            };
            let pair = |k: usize| ((words[2 * group + k / 4] >> (2 * (k % 4))) & 0x0303_0303) << 4;
            scaled(quads(&planes[0], at, pair), |k, q| scale(k) * (q - 32.0))
        }
    }
}

/// Three to five rows of golden blocks, over and over.
fn golden_rows(format: Format, columns: usize) -> Vec<u8> {
    let (rules, golden) = (format.rules(), golden(format));
    let (header, blocks) = golden.stored.split_at(rules.row_header_bytes());
    let mut blocks = blocks.chunks_exact(rules.block_bytes()).cycle();
    let a_row = columns / rules.block_weights();
    let rows = (golden.values.len() / columns).clamp(3, 5);
    let row =
        |_| [header.to_vec(), blocks.by_ref().take(a_row).flatten().copied().collect()].concat();
    (0..rows).flat_map(row).collect()
}

#[test]
fn planes_hold_the_same_numbers() {
    for format in Format::ALL {
        for &columns in columns(format) {
            let stored = golden_rows(format, columns);
            let rows = stored.len() / format.row_bytes(columns).unwrap();
            let planes = planes(format, columns, rows, &stored);
            let mut expected = vec![0.0; rows * columns];
            format.dequantize(columns, &stored, &mut expected).unwrap();
            for row in 0..rows {
                let units = (0..columns.div_ceil(UNIT))
                    .flat_map(|unit| weights32(format, columns, &planes, row, unit));
                let found: Vec<f32> = units.collect();
                let (real, padding) = found.split_at(columns);
                let same = real
                    .iter()
                    .zip(&expected[row * columns..])
                    .position(|(a, b)| a.to_bits() != b.to_bits());
                assert_eq!(
                    same, None,
                    "{format:?}, {columns} columns, row {row}: first differing weight"
                );
                assert!(
                    padding.iter().all(|&weight| weight == 0.0),
                    "{format:?}, {columns} columns"
                );
            }
        }
    }
}

#[test]
fn planes_take_no_more_than_what_is_stored() {
    for format in Format::ALL {
        let columns = 1536;
        let stored = format.row_bytes(columns).unwrap();
        let planes: usize = format.rules().plane_row_bytes(columns).iter().sum();
        assert_eq!(planes, stored, "{format:?}");
    }
}

/// Where each format keeps halves (float formats: the value itself) in its block.
fn scales_at(format: Format) -> &'static [usize] {
    match format {
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
        Format::Q6_K => &[208],
        Format::MLX(_) if mlx_numbers(format)[2] == 2 => &[0, 4],
        Format::MLX(_) => &[0, 2],
        _ => &[0],
    }
}

#[test]
fn scales_that_are_not_numbers_are_found() {
    for format in Format::ALL {
        let rules = format.rules();
        let (header, size) = (rules.row_header_bytes(), rules.block_bytes());
        let columns = *columns(format).last().unwrap();
        let stored = golden_rows(format, columns);
        assert_eq!(format.first_non_finite_row(columns, &stored).unwrap(), None, "{format:?}");
        let format_of_scales = match format {
            Format::MLX(_) => [Format::F16, Format::BF16, Format::F32][mlx_numbers(format)[2]],
            _ => format,
        };
        let bad: &[&[u8]] = match format_of_scales {
            Format::F32 => &[&[0, 0, 0x80, 0x7f], &[1, 0, 0x80, 0xff], &[0, 0, 0xc0, 0x7f]],
            Format::BF16 => &[&[0x80, 0x7f], &[0x80, 0xff], &[0xc0, 0x7f]],
            Format::F8_E4M3 => &[&[0x7f], &[0xff]],
            // Every head is a number.
            Format::T4 => &[],
            _ => &[&[0, 0x7c], &[0, 0xfc], &[1, 0x7e]],
        };
        let row_bytes = format.row_bytes(columns).unwrap();
        let set = |at: usize, bad: &[u8]| {
            let mut stored = stored.clone();
            stored[2 * row_bytes + at..][..bad.len()].copy_from_slice(bad);
            assert_eq!(
                format.first_non_finite_row(columns, &stored).unwrap(),
                Some(2),
                "{format:?} {at}"
            );
        };
        for at in scales_at(format) {
            bad.iter().for_each(|bad| set(header + size + at, bad));
        }
        if header > 0 {
            [f32::NAN, f32::INFINITY].iter().for_each(|bad| set(0, &bad.to_le_bytes()));
        }
    }
}

#[test]
fn rows_are_whole_blocks() {
    for format in Format::ALL {
        let (weights, bytes) = (format.rules().block_weights(), format.rules().block_bytes());
        assert_eq!(
            format.row_bytes(3 * weights).unwrap(),
            format.rules().row_header_bytes() + 3 * bytes
        );
        for wrong in
            [0, weights + weights / 2].into_iter().filter(|wrong| *wrong == 0 || weights > 1)
        {
            let error = format.row_bytes(wrong).unwrap_err();
            assert_eq!(error.code(), Code::Malformed);
            assert!(error.message().contains(format.name()), "{error}");
        }
        // More bytes than there can be.
        if bytes > weights {
            assert!(format.row_bytes(usize::MAX / weights * weights).is_err(), "{format:?}");
        }
    }
}

#[test]
fn names_and_numbers_lead_back() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
        if let Some(number) = format.gguf_type() {
            assert_eq!(Format::from_gguf_type(number), Some(format));
            assert_eq!(Format::gguf_type_name(number), Some(format.name()));
        }
    }
    assert_eq!((Mlx::new(3, 64, MlxScales::F16), Mlx::new(4, 16, MlxScales::F16)), (None, None));
    assert_eq!(Format::from_gguf_type(10), None);
    assert_eq!(Format::gguf_type_name(10), Some("Q2_K"));
    assert_eq!(Format::gguf_type_name(39), Some("MXFP4"));
    assert_eq!(Format::gguf_type_name(1000), None);
    assert_eq!(Format::from_safetensors_dtype("BF16"), Some(Format::BF16));
    assert_eq!(Format::from_safetensors_dtype("F8_E4M3"), None);
}
