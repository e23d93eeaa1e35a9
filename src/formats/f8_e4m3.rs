//! F8_E4M3: one 8-bit float per weight (sign, four exponent bits with bias 7, three mantissa bits)
//! and one scale per row; weight = number · scale. F8_E4M3_128: one scale per 128 weights of a row.
//! Source: Micikevicius et al. 2022, "FP8 formats for deep learning".
//!
//! Stored row of F8_E4M3: f32 scale, then one byte per weight. Checkpoints have one scale per
//! matrix or per row; a scale per row costs 0.01 bits per weight in rows of 3072. There is no
//! infinity; the bytes 0x7f and 0xff are NaN.
//!
//! Stored block of F8_E4M3_128: f32 scale, then 128 bytes. Checkpoints have one scale for blocks of
//! 128 rows and columns.
//!
//! Plane 0 (`vec4<u32>`, two per unit): the bytes in order. Plane 1 (`u32`, one per row or block):
//! the scale.

use super::bits;
use super::bits::UNIT;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;

/// Bytes of the scale in front of each row.
const HEADER: usize = 4;

pub(super) struct F8E4M3;

/// Decodes a byte that is not NaN, exactly.
pub(super) fn number(byte: u8) -> f32 {
    let (exponent, mantissa) = (u32::from(byte >> 3 & 15), u32::from(byte & 7));
    // Subnormals: the smallest exponent and no implicit leading one.
    let significand = if exponent == 0 { mantissa } else { mantissa | 8 };
    let power = f32::from_bits((exponent.max(1) + 127 - 7 - 3) << 23);
    let magnitude = significand as f32 * power;
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

/// True if no byte is NaN.
pub(super) fn are_numbers(bytes: &[u8]) -> bool {
    bits::all(bytes.chunks(1), |byte| byte[0] & 0x7f != 0x7f)
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
        f32::from_bits(bits::word(scale, 0)).is_finite() && are_numbers(numbers)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/f8_e4m3.wgsl")
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("F8_E4M3_BLOCKS", 0.0)]
    }
}

/// Weights per block of F8_E4M3_128.
const BLOCK: usize = 128;

pub(super) struct F8E4M3Blocks;

impl WeightFormat for F8E4M3Blocks {
    fn block_weights(&self) -> usize {
        BLOCK
    }

    fn block_bytes(&self) -> usize {
        HEADER + BLOCK
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (block, values) in stored.chunks(self.block_bytes()).zip(out.chunks_mut(BLOCK)) {
            F8E4M3.dequantize_row(block, values);
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        F8E4M3.integers()
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        let blocks = stored.chunks(self.block_bytes());
        for (block, units) in blocks.zip(units.chunks_mut(BLOCK / UNIT)) {
            F8E4M3.integer_units(block, units);
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        vec![columns.next_multiple_of(BLOCK), columns.div_ceil(BLOCK) * HEADER]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [numbers, scales] = planes else { return };
        let planes = numbers.chunks_exact_mut(BLOCK).zip(scales.chunks_exact_mut(HEADER));
        for ((numbers, scale), stored) in planes.zip(stored.chunks(self.block_bytes())) {
            F8E4M3.repack_row(BLOCK, stored, &mut [numbers, scale]);
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        stored.chunks(self.block_bytes()).all(|block| F8E4M3.is_finite(block))
    }

    fn shader(&self) -> &'static str {
        F8E4M3.shader()
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("F8_E4M3_BLOCKS", 1.0)]
    }
}
