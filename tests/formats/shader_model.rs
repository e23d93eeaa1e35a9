//! Planes of the formats, and a model in Rust of `weights32` of each format's shader.

use half::f16;
use tablm::formats::{Format, UNIT};

/// One plane of several rows, as words.
pub(crate) struct Plane(pub(crate) Vec<u32>);

/// Repacks `rows` stored rows into planes.
pub(crate) fn repack(format: Format, columns: usize, rows: usize, stored: &[u8]) -> Vec<Plane> {
    let rules = format.rules();
    let row_bytes = format.row_bytes(columns).unwrap();
    let sizes = rules.plane_row_bytes(columns);
    assert!(sizes.iter().all(|size| size % 4 == 0), "{format:?}: {sizes:?}");
    let mut planes: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0; size * rows]).collect();
    for row in 0..rows {
        let plane_rows = planes.iter_mut().zip(&sizes);
        let mut plane_rows: Vec<&mut [u8]> =
            plane_rows.map(|(plane, size)| &mut plane[row * size..(row + 1) * size]).collect();
        rules.repack_row(columns, &stored[row * row_bytes..][..row_bytes], &mut plane_rows);
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

/// Unpacks unit `at`: eight quads of nibbles, quad `k` combined with the bits `high(k)`.
fn quads(plane: &Plane, at: usize, high: impl Fn(usize) -> u32) -> [[f32; 4]; 8] {
    std::array::from_fn(|k| {
        let word = plane.0[4 * at + k / 2] >> (4 * (k % 2));
        bytes((word & 0x0f0f_0f0f) | high(k))
    })
}

/// Moves bit `8i + k` to bit 4 of byte `i`.
fn fifth(word: u32, k: usize) -> u32 {
    ((word >> k) & 0x0101_0101) << 4
}

/// Scale and negated minimum of a group of a K-quant, from the four words of its super-block.
fn k_scale(words: &[u32], group: usize) -> (f32, f32) {
    let low = words[1 + group / 4] >> (8 * (group % 4));
    let high = words[3] >> (4 * group);
    let scale = (low & 15) | ((high & 3) << 4);
    let minimum = ((low >> 4) & 15) | (((high >> 2) & 3) << 4);
    (half(words[0], 0) * scale as f32, -(half(words[0], 1) * minimum as f32))
}

/// Decodes an FP8 number by its definition.
fn f8(byte: u8) -> f32 {
    let sign = if byte < 128 { 1.0 } else { -1.0 };
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let magnitude = match exponent {
        0 => mantissa / 8.0 * 2f32.powi(-6),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    sign * magnitude
}

/// Applies `value(quad, quant)` to all quants of a unit.
fn scaled(quads: [[f32; 4]; 8], value: impl Fn(usize, f32) -> f32) -> Vec<f32> {
    let each = quads.iter().enumerate();
    each.flat_map(|(k, quad)| quad.map(|quant| value(k, quant))).collect()
}

/// Bits, group size and encoding of scales (0: F16, 1: BF16, 2: F32) of an MLX format.
pub(crate) fn mlx_parameters(format: Format) -> [usize; 3] {
    let numbers: Vec<usize> =
        format.rules().constants().iter().map(|(_, value)| *value as usize).collect();
    numbers.try_into().unwrap()
}

/// Planes of several rows of one matrix.
pub(crate) struct Planes<'a> {
    pub(crate) format: Format,
    /// Weights per row.
    pub(crate) columns: usize,
    pub(crate) planes: &'a [Plane],
}

/// The 32 weights that `weights32` of the format's shader returns.
pub(crate) fn weights32(planes: &Planes<'_>, row: usize, unit: usize) -> Vec<f32> {
    match planes.format {
        Format::F32 | Format::F16 | Format::BF16 | Format::F8_E4M3 => {
            float_weights32(planes, row, unit)
        }
        Format::Q4_K | Format::Q5_K | Format::Q6_K => k_weights32(planes, row, unit),
        Format::MLX(_) => mlx_weights32(planes, row, unit),
        _ => block_weights32(planes, row, unit),
    }
}

/// Floating-point formats.
fn float_weights32(planes: &Planes<'_>, row: usize, unit: usize) -> Vec<f32> {
    let at = row * planes.columns.div_ceil(UNIT) + unit;
    let words = &planes.planes[0].0;
    match planes.format {
        Format::F32 => words[32 * at..][..32].iter().map(|&w| f32::from_bits(w)).collect(),
        Format::F16 => (0..32).map(|i| half(words[16 * at + i / 2], i % 2)).collect(),
        Format::BF16 => (0..32)
            .map(|i| f32::from_bits(words[16 * at + i / 2] >> (16 * (i % 2)) << 16))
            .collect(),
        _ => {
            let scale = f32::from_bits(planes.planes[1].0[row]);
            let words = &words[8 * at..][..8];
            words.iter().flat_map(|w| w.to_le_bytes().map(|b| scale * f8(b))).collect()
        }
    }
}

/// Formats of blocks of 32 weights.
fn block_weights32(planes: &Planes<'_>, row: usize, unit: usize) -> Vec<f32> {
    let units = planes.columns.div_ceil(UNIT);
    let at = row * units + unit;
    let [quants, scales] = planes.planes else { panic!("two planes") };
    let half_of = |base: usize, index: usize| half(scales.0[base + index / 2], index % 2);
    let scale_of_unit = || half_of(row * units.div_ceil(2), unit);
    let nibbles = || quads(quants, at, |_| 0);
    match planes.format {
        Format::Q8_0 => {
            let (scale, words) = (scale_of_unit(), &quants.0[8 * at..][..8]);
            words.iter().flat_map(|w| w.to_le_bytes().map(|b| scale * f32::from(b as i8))).collect()
        }
        Format::Q4_0 => scaled(nibbles(), |_, q| scale_of_unit() * (q - 8.0)),
        Format::T4 => {
            let head = scales.0[row * units.div_ceil(2) + unit / 2] >> (16 * (unit % 2)) & 0xffff;
            let scale = 2f32.powi((head >> 11) as i32 - 24) * (1.0 + (head >> 8 & 7) as f32 / 8.0);
            let (bend, shift) = ((head & 7) as f32 / 256.0, (head >> 3 & 31) as f32 / 4.0 - 4.0);
            let u = |q: f32| q - 7.5;
            scaled(nibbles(), |_, q| scale * (u(q) + bend * u(q).powi(3) + shift))
        }
        Format::Q4_1 => {
            let (scale, minimum) = (half(scales.0[at], 0), half(scales.0[at], 1));
            scaled(nibbles(), |_, q| scale * q + minimum)
        }
        Format::Q5_0 => {
            let base = row * (units + units.div_ceil(2));
            let (high, scale) = (scales.0[base + unit], half_of(base + units, unit));
            scaled(quads(quants, at, |k| fifth(high, k)), |_, q| scale * (q - 16.0))
        }
        Format::Q5_1 => {
            let (high, both) = (scales.0[2 * at], scales.0[2 * at + 1]);
            let (scale, minimum) = (half(both, 0), half(both, 1));
            scaled(quads(quants, at, |k| fifth(high, k)), |_, q| scale * q + minimum)
        }
        other => panic!("no model of {other:?}"),
    }
}

/// Formats of super-blocks of 256 weights.
fn k_weights32(planes: &Planes<'_>, row: usize, unit: usize) -> Vec<f32> {
    let units = planes.columns.div_ceil(UNIT);
    let at = row * units + unit;
    let [quants, scales] = planes.planes else { panic!("two planes") };
    let (blocks, block, group) = (units / 8, unit / 8, unit % 8);
    match planes.format {
        Format::Q4_K => {
            let (scale, minimum) = k_scale(&scales.0[4 * (row * blocks + block)..][..4], group);
            scaled(quads(quants, at, |_| 0), |_, q| scale * q + minimum)
        }
        Format::Q5_K => {
            let words = &scales.0[12 * (row * blocks + block)..][..12];
            let (scale, minimum) = k_scale(words, group);
            let high = words[4 + group];
            scaled(quads(quants, at, |k| fifth(high, k)), |_, q| scale * q + minimum)
        }
        _ => {
            let base = row * (20 * blocks + blocks.div_ceil(2));
            let words = &scales.0[base + 20 * block..][..20];
            let d = half(scales.0[base + 20 * blocks + block / 2], block % 2);
            let scale = |k: usize| {
                let byte = 2 * group + k / 4;
                d * f32::from((words[16 + byte / 4] >> (8 * (byte % 4))) as u8 as i8)
            };
            let pair = |k: usize| ((words[2 * group + k / 4] >> (2 * (k % 4))) & 0x0303_0303) << 4;
            scaled(quads(quants, at, pair), |k, q| scale(k) * (q - 32.0))
        }
    }
}

/// MLX's affine formats.
fn mlx_weights32(planes: &Planes<'_>, row: usize, unit: usize) -> Vec<f32> {
    let Planes { format, columns, planes } = *planes;
    let [mlx_bits, group, scales] = mlx_parameters(format);
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
