//! F8_E4M3: one 8-bit float per weight (sign, four exponent bits with bias 7, three mantissa bits)
//! and one scale per row; weight = number · scale. Source: Micikevicius et al. 2022, "FP8 formats
//! for deep learning".
//!
//! Stored row: f32 scale, then one byte per weight. Checkpoints have one scale per matrix or per
//! row; a scale per row costs 0.01 bits per weight in rows of 3072. There is no infinity; the
//! bytes 0x7f and 0xff are NaN.
//!
//! Plane 0 (`vec4<u32>`, two per unit): the bytes in order. Plane 1 (`u32`, one per row): the
//! scale.

use super::bits;
use super::bits::UNIT;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;

/// Bytes of the scale in front of each row.
const HEADER: usize = 4;

pub(super) struct F8E4M3;

/// Decodes a byte that is not NaN, exactly.
fn number(byte: u8) -> f32 {
    let (exponent, mantissa) = (u32::from(byte >> 3 & 15), u32::from(byte & 7));
    // Subnormals: the smallest exponent and no implicit leading one.
    let significand = if exponent == 0 { mantissa } else { mantissa | 8 };
    let power = f32::from_bits((exponent.max(1) + 127 - 7 - 3) << 23);
    let magnitude = significand as f32 * power;
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

impl WeightFormat for F8E4M3 {
    fn row_header_bytes(&self) -> usize {
        HEADER
    }

    fn block_weights(&self) -> usize {
        1
    }

    fn block_bytes(&self) -> usize {
        1
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        let scale = f32::from_bits(bits::word(stored, 0));
        for (value, &byte) in out.iter_mut().zip(&stored[HEADER..]) {
            *value = number(byte) * scale;
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::bytes(Some(IntegerUnit::MIDDLE))
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        let mut row = vec![0.0; stored.len() - HEADER];
        self.dequantize_row(stored, &mut row);
        for (unit, weights) in units.iter_mut().zip(row.chunks(UNIT)) {
            *unit = IntegerUnit::rounded(weights);
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        vec![bits::units(columns) * UNIT, HEADER]
    }

    fn repack_row(&self, columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let (scale, numbers) = stored.split_at(HEADER);
        planes[0][..columns].copy_from_slice(numbers);
        planes[1].copy_from_slice(scale);
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        let (scale, numbers) = stored.split_at(HEADER);
        let are_numbers = bits::all(numbers.chunks(1), |byte| byte[0] & 0x7f != 0x7f);
        f32::from_bits(bits::word(scale, 0)).is_finite() && are_numbers
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/f8_e4m3.wgsl")
    }
}
