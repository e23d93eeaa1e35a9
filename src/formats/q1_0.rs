//! Q1_0: blocks of 128 one-bit quants with one scale; weight = scale if the quant is 1, else
//! −scale. Source: ggml.
//!
//! Stored block, 18 bytes: f16 scale, 16 bytes of quants, the first in the lowest bit.
//!
//! Plane 0 (`u32`, one per unit): quants, bit `8i + k` for weight `4k + i`. Plane 1 (`u32`): f16
//! scales, two per word.

use super::bits;
use super::integers::{IntegerQuants, IntegerUnit, Levels};
use super::rules::WeightFormat;

const BYTES: usize = 18;
const WEIGHTS: usize = 128;

pub(super) struct Q1_0;

impl WeightFormat for Q1_0 {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            let scale = bits::half_at(block, 0);
            for (values, byte) in values.chunks_exact_mut(8).zip(&block[2..]) {
                for (i, value) in values.iter_mut().enumerate() {
                    *value = if (byte >> i) & 1 == 1 { scale } else { -scale };
                }
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        Some(IntegerQuants { bits: 1, levels: Levels::Signs, zero_point: None, group: bits::UNIT })
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (units, block) in units.chunks_mut(4).zip(stored.chunks_exact(BYTES)) {
            let scale = bits::half_at(block, 0);
            for (unit, bytes) in units.iter_mut().zip(block[2..].chunks_exact(4)) {
                let quants = std::array::from_fn(|i| (bytes[i / 8] >> (i % 8)) & 1);
                *unit = IntegerUnit::new(quants, scale, 0.0);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * 4, bits::halves_bytes(units.div_ceil(4))]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let blocks = stored.chunks_exact(BYTES);
        bits::put_halves(planes[1], blocks.clone(), 0);
        for (words, block) in planes[0].chunks_exact_mut(16).zip(blocks) {
            for unit in 0..4 {
                bits::put_word(words, unit, bits::spread_bits(bits::word(&block[2..], unit)));
            }
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        bits::halves_are_finite(stored, BYTES, [0])
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(1)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/q1_0.wgsl")
    }
}
