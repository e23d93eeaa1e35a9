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

/// Unpacks the bit pairs of unit `at`, combined with the bits `high(k)` of quad `k`.
fn pairs(plane: &Plane, at: usize, high: impl Fn(usize) -> u32) -> [[f32; 4]; 8] {
    std::array::from_fn(|k| {
        let word = plane.0[2 * at + k / 4] >> (2 * (k % 4));
        bytes((word & 0x0303_0303) | high(k))
    })
}

/// Levels of the IQ4 formats, as ggml lists them.
const IQ4: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

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

/// Bits, group size and encoding of scales (0: F16, 1: BF16, 2: F32) of an MLX format or of grouped
/// integers.
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
        Format::F32
        | Format::F16
        | Format::BF16
        | Format::F8_E4M3
        | Format::F8_E4M3_128
        | Format::MXFP8 => float_weights32(planes, row, unit),
        Format::Q4_K | Format::Q5_K | Format::Q6_K => k_weights32(planes, row, unit),
        Format::Q2_K | Format::Q3_K | Format::IQ4_XS => small_weights32(planes, row, unit),
        Format::IQ2_XXS | Format::IQ2_XS | Format::IQ2_S | Format::IQ3_XXS | Format::IQ3_S => {
            rewritten_weights32(planes, row, unit)
        }
        Format::Q1_0 | Format::Q2_0 | Format::MXFP4 | Format::NVFP4 | Format::NVFP4_F32 => {
            tiny_weights32(planes, row, unit)
        }
        Format::MLX(_) => mlx_weights32(planes, row, unit),
        Format::INT(_) => int_weights32(planes, row, unit),
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
        format => {
            let scales = &planes.planes[1].0;
            let scale = match format {
                Format::F8_E4M3 => f64::from(f32::from_bits(scales[row])),
                Format::F8_E4M3_128 => {
                    f64::from(f32::from_bits(scales[row * planes.columns / 128 + unit / 4]))
                }
                _ => {
                    let words = planes.columns.div_ceil(UNIT).div_ceil(4);
                    let exponent = scales[row * words + unit / 4].to_le_bytes()[unit % 4];
                    2f64.powi(i32::from(exponent) - 127)
                }
            };
            let weight = |byte| (scale * f64::from(f8(byte))) as f32;
            words[8 * at..][..8].iter().flat_map(|w| w.to_le_bytes().map(weight)).collect()
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
        Format::IQ4_NL => scaled(nibbles(), |_, q| scale_of_unit() * IQ4[q as usize]),
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

/// Formats of super-blocks of 256 weights, of at most 4.25 bits.
fn small_weights32(planes: &Planes<'_>, row: usize, unit: usize) -> Vec<f32> {
    let units = planes.columns.div_ceil(UNIT);
    let at = row * units + unit;
    let [quants, scales] = planes.planes else { panic!("two planes") };
    let (blocks, block, group) = (units / 8, unit / 8, unit % 8);
    let index = row * blocks + block;
    match planes.format {
        Format::Q2_K => {
            let words = &scales.0[5 * index..][..5];
            let byte = |k: usize| words[group / 2].to_le_bytes()[2 * (group % 2) + k / 4];
            let (d, dmin) = (half(words[4], 0), half(words[4], 1));
            scaled(pairs(quants, at, |_| 0), |k, q| {
                d * f32::from(byte(k) & 15) * q - dmin * f32::from(byte(k) >> 4)
            })
        }
        Format::Q3_K => {
            let base = row * (11 * blocks + blocks.div_ceil(2));
            let words = &scales.0[base + 11 * block..][..11];
            let d = half(scales.0[base + 11 * blocks + block / 2], block % 2);
            let scale = |k: usize| {
                let low = words[8 + group / 4] >> (8 * (group % 4) + k / 4 * 4) & 15;
                let high = words[10] >> (4 * group + k / 4 * 2) & 3;
                d * ((low | (high << 4)) as f32 - 32.0)
            };
            let third = |k: usize| ((words[group] >> k) & 0x0101_0101) << 2;
            scaled(pairs(quants, at, third), |k, q| scale(k) * (q - 4.0))
        }
        _ => {
            let words = &scales.0[2 * index..][..2];
            let high = words[0] >> (16 + 2 * group) & 3;
            let six = (words[1] >> (4 * group) & 15) | (high << 4);
            let scale = half(words[0], 0) * (six as f32 - 32.0);
            scaled(quads(quants, at, |_| 0), |_, q| scale * IQ4[q as usize])
        }
    }
}

/// Numbers of E2M1 doubled, by their codes.
const FP4: [f32; 16] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

/// Formats of blocks of 32 to 128 weights without offsets, of at most 4.5 bits.
fn tiny_weights32(planes: &Planes<'_>, row: usize, unit: usize) -> Vec<f32> {
    let units = planes.columns.div_ceil(UNIT);
    let at = row * units + unit;
    let [quants, scales] = planes.planes else { panic!("two planes") };
    match planes.format {
        Format::Q1_0 => {
            let scale = half(scales.0[row * (units / 4).div_ceil(2) + unit / 8], unit / 4 % 2);
            let word = quants.0[at];
            let quads = std::array::from_fn(|k| bytes((word >> k) & 0x0101_0101));
            scaled(quads, |_, q| scale * (2.0 * q - 1.0))
        }
        Format::Q2_0 => {
            let scale = half(scales.0[row * (units / 2).div_ceil(2) + unit / 4], unit / 2 % 2);
            scaled(pairs(quants, at, |_| 0), |_, q| (q - 1.0) * scale)
        }
        Format::MXFP4 => {
            let exponent = scales.0[row * units.div_ceil(4) + unit / 4].to_le_bytes()[unit % 4];
            let scale = 2f64.powi(i32::from(exponent) - 128);
            let weight = |q: f32| (scale * f64::from(FP4[q as usize])) as f32;
            scaled(quads(quants, at, |_| 0), |_, q| weight(q))
        }
        Format::NVFP4_F32 => {
            let row = &scales.0[row * (1 + units.div_ceil(2))..];
            let factor = f32::from_bits(row[0]);
            let scales = row[1 + unit / 2].to_le_bytes();
            let scale = |k: usize| f8(scales[unit % 2 * 2 + k / 4]) * factor;
            scaled(quads(quants, at, |_| 0), |k, q| scale(k) * (0.5 * FP4[q as usize]))
        }
        _ => {
            let scales = scales.0[row * (units / 2) + unit / 2].to_le_bytes();
            let scale = |k: usize| match scales[unit % 2 * 2 + k / 4] {
                // The shader has numbers of E4M3 without NaN.
                0x7f => 480.0,
                byte => f8(byte),
            };
            scaled(quads(quants, at, |_| 0), |k, q| 0.5 * scale(k) * FP4[q as usize])
        }
    }
}

/// Formats with code books, as they are rewritten.
fn rewritten_weights32(planes: &Planes<'_>, row: usize, unit: usize) -> Vec<f32> {
    let units = planes.columns.div_ceil(UNIT);
    let at = row * units + unit;
    let [quants, scales] = planes.planes else { panic!("two planes") };
    let (blocks, block, group) = (units / 8, unit / 8, unit % 8);
    let words = if planes.format.stem() == "iq2" { 10 } else { 1 };
    let base = row * (words * blocks + blocks.div_ceil(2));
    let d = half(scales.0[base + words * blocks + block / 2], block % 2);
    let words = &scales.0[base + words * block..][..words];
    if let [nibbles] = words {
        let scale = d * (2 * (nibbles >> (4 * group) & 15) + 1) as f32;
        let level = |q: f32| match planes.format {
            Format::IQ3_S => 2.0 * q - 15.0,
            _ => {
                let beyond = if q == 0.0 || q == 15.0 { 2.0 } else { 0.0 };
                let level = 8.0 * q - 60.0;
                (level + beyond * level.signum()) / 4.0
            }
        };
        return scaled(quads(quants, at, |_| 0), |_, q| scale * level(q));
    }
    let byte = words[8 + group / 4].to_le_bytes()[group % 4];
    let third = |k: usize| ((words[group] >> k) & 0x0101_0101) << 2;
    const LEVELS: [f32; 6] = [-43.0, -25.0, -8.0, 8.0, 25.0, 43.0];
    scaled(pairs(quants, at, third), |k, q| {
        let scale = d * f32::from(2 * (byte >> (k / 4 * 4) & 15) + 1);
        scale / 8.0 * LEVELS[q as usize]
    })
}

/// MLX's affine formats.
fn mlx_weights32(planes: &Planes<'_>, row: usize, unit: usize) -> Vec<f32> {
    let Planes { format, columns, planes } = *planes;
    let [mlx_bits, group, scales] = mlx_parameters(format);
    let (units, group_units) = (columns / UNIT, group / UNIT);
    let pair_words = if scales == 2 { 2 } else { 1 };
    let high_words = match mlx_bits {
        3 | 5 => 1,
        6 => 2,
        _ => 0,
    };
    let block_words = pair_words + high_words * group_units;
    let block = &planes[1].0[(row * (units / group_units) + unit / group_units) * block_words..];
    let (scale, bias) = match scales {
        0 => (half(block[0], 0), half(block[0], 1)),
        1 => (f32::from_bits(block[0] << 16), f32::from_bits(block[0] >> 16 << 16)),
        _ => (f32::from_bits(block[0]), f32::from_bits(block[1])),
    };
    let high = &block[pair_words + unit % group_units * high_words..];
    let at = row * units + unit;
    // Rows of bit pairs are whole vectors of two units.
    let pair_at = row * units.next_multiple_of(2) + unit;
    let quants = match mlx_bits {
        2 => pairs(&planes[0], pair_at, |_| 0),
        3 => pairs(&planes[0], pair_at, |k| ((high[0] >> k) & 0x0101_0101) << 2),
        4 => quads(&planes[0], at, |_| 0),
        5 => quads(&planes[0], at, |k| fifth(high[0], k)),
        6 => quads(&planes[0], at, |k| ((high[k / 4] >> (2 * (k % 4))) & 0x0303_0303) << 4),
        _ => std::array::from_fn(|k| bytes(planes[0].0[8 * at + k])),
    };
    scaled(quants, |_, quant| scale * quant + bias)
}

/// Scale of a unit of grouped integers, and its zero point.
fn scale_and_zero(planes: &Planes<'_>, row: usize, unit: usize) -> (f32, f32) {
    let [_, group, scales] = mlx_parameters(planes.format);
    let group = row * planes.columns / group + UNIT * unit / group;
    let pairs = &planes.planes[1].0;
    match scales {
        0 => (half(pairs[group], 0), half(pairs[group], 1)),
        1 => (f32::from_bits(pairs[group] << 16), f32::from_bits(pairs[group] >> 16 << 16)),
        _ => (f32::from_bits(pairs[2 * group]), f32::from_bits(pairs[2 * group + 1])),
    }
}

/// Grouped integers.
fn int_weights32(planes: &Planes<'_>, row: usize, unit: usize) -> Vec<f32> {
    let at = row * planes.columns / UNIT + unit;
    let (scale, zero) = scale_and_zero(planes, row, unit);
    if mlx_parameters(planes.format)[0] == 4 {
        return scaled(quads(&planes.planes[0], at, |_| 0), |_, quant| scale * (quant - zero));
    }
    let quants = std::array::from_fn(|k| bytes(planes.planes[0].0[8 * at + k] ^ 0x8080_8080));
    scaled(quants, |_, quant| scale * (quant - (zero + 128.0)))
}
